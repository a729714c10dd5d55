import { fileURLToPath } from 'node:url';

/** The checkout that this program was compiled in: the guests are built from sources in it. */
const ROOT = new URL('../../../../', import.meta.url);

/** Path of a file of the folder of the test guests, e.g. 'linux/init'. */
export function guestSource(name: string): string {
  return fileURLToPath(new URL(`scripts/lab/guests/${name}`, ROOT));
}

/** Path of something that `scripts/prepare --qemu` has fetched, e.g. 'kernel/vmlinuz'. */
export function fetchedForGuests(name: string): string {
  return fileURLToPath(new URL(`.cache/guest/${name}`, ROOT));
}
