import { constants } from 'node:os';

// Not util.getSystemErrorName(), which does not know them all.
const names = Object.entries(constants.errno);

/** A system call that the kernel refused. `code` is the name of its errno: 'EPERM', 'ENOMEM', ... */
export class SystemCallError extends Error {
  readonly call: string;
  readonly errno: number;
  readonly code: string;

  constructor(call: string, errno: number) {
    const code = names.find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`;
    super(`${call} failed: ${code}`);
    this.name = 'SystemCallError';
    this.call = call;
    this.errno = errno;
    this.code = code;
  }
}

/** Whether `thrown` has that code; an error of node:fs has one of the same names. */
export function hasCode(thrown: unknown, ...codes: string[]): boolean {
  return thrown instanceof Error && 'code' in thrown && codes.includes(String(thrown.code));
}
