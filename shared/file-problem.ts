/** Words for what opening or reading a file threw; its path stands before them already. */
export function fileProblem(thrown: unknown): string {
  const { code, message } = thrown as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'there is no such file';
  if (code === 'EACCES') return 'this user may not open it';
  if (code === 'EROFS') return 'its file system is read-only';
  if (code === 'EISDIR') return 'it is a directory';
  return message.split('\n', 1).join('').replace(/:$/, '');
}
