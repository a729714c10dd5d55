/** What a QEMU has said, without what it tells in passing: that it waits for its monitor to be connected to. */
export function complaints(said: string): string {
  return said.replaceAll(/^.*: info: QEMU waiting for connection on: .*\n?/gm, '');
}
