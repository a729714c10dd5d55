import { z } from 'zod';
import { validate } from '../../../../shared/validate.js';
import type { GuestFacts } from './guest-facts.js';

/**
 * What a target must know of a running guest beside its definition. It travels as texts by name, each at most MAX_TEXT_LENGTH
 * characters; lists that may be longer in pieces: 'disks1', 'disks2'.
 */
export interface GuestTraits {
  /** [7, 2, 22] */
  readonly qemu: readonly number[];
  /** Never an alias. */
  readonly machine: string;
  readonly accel: 'kvm' | 'tcg';
  readonly cpu: string;
  /** Features of that model that the guest does not have. */
  readonly cpuLacks: readonly string[];
  /** The processor of the source's host; only of guests that see it as it is. */
  readonly hostCpu: {
    readonly vendor: string;
    readonly signature: string;
    readonly flags: readonly string[];
  } | null;
  /** Size of the largest pages that back its memory. bytes */
  readonly pageBytes: number;
  /** SHA-256 in hexadecimal; null where the source can't read the file. */
  readonly kernel: string | null;
  readonly initrd: string | null;
  /** The boot of the source's host. */
  readonly boot: string;
  /** Of the definition's disks, in its order, those that the source sees. */
  readonly disks: readonly DiskTraits[];
}

export interface DiskTraits {
  readonly index: number;
  /** st_dev and st_ino at the source. */
  readonly identity: string;
  /** Of a regular file; 0 of others. */
  readonly bytes: number;
}

/** Characters of one piece of a list, and pieces of it: what is more is not told. */
const PIECE_CHARACTERS = 900;
const MAX_PIECES = 4;

export function guestTraits(guest: GuestFacts): Record<string, string> {
  const { version, hostCpu, bootFiles } = guest;
  const hash = (what: 'kernel' | 'initrd') => {
    const sha256 = bootFiles.find((file) => file.what === what)?.sha256;
    return sha256 === undefined || sha256 === null ? {} : { [what]: sha256 };
  };
  return {
    qemu: `${version.major}.${version.minor}.${version.micro}`,
    machine: guest.machine,
    accel: guest.accel,
    cpu: guest.cpuModel,
    ...pieces('cpuLacks', guest.cpuLacks),
    ...(seesHostCpu(guest)
      ? { hostCpu: `${hostCpu.vendor} ${hostCpu.signature}`, ...pieces('hostFlags', hostCpu.flags) }
      : {}),
    pageBytes: String(Math.max(0, ...guest.memory.map(({ pageBytes }) => pageBytes))),
    ...hash('kernel'),
    ...hash('initrd'),
    boot: guest.bootId,
    ...pieces(
      'disks',
      guest.disks.flatMap(({ identity, bytes }, index) =>
        identity === '' ? [] : [`${index}=${identity}=${bytes}`],
      ),
    ),
  };
}

function seesHostCpu({ accel, cpuModel }: GuestFacts): boolean {
  return accel === 'kvm' && (cpuModel === 'host' || cpuModel === 'max');
}

/** Words in texts of at most PIECE_CHARACTERS, as NAME1, NAME2, ... */
function pieces(name: string, words: readonly string[]): Record<string, string> {
  const texts = [''];
  for (const word of words) {
    const last = texts.at(-1)!;
    if (last === '') texts[texts.length - 1] = word;
    else if (last.length + 1 + word.length <= PIECE_CHARACTERS) texts[texts.length - 1] = `${last} ${word}`;
    else texts.push(word);
  }
  return Object.fromEntries(
    texts.slice(0, MAX_PIECES).flatMap((text, index) => (text === '' ? [] : [[`${name}${index + 1}`, text]])),
  );
}

const Name = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/, 'must be a name of at most 64 characters');
const Hash = z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in hexadecimal');
const Count = z
  .string()
  .regex(/^\d{1,15}$/, 'must be a number of at most 15 digits')
  .transform(Number);
const Words = z
  .array(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$/, 'must be names of at most 48 characters'))
  .max(1024, 'must be at most 1024');
const Disk = z
  .string()
  .regex(/^\d{1,2}=\d{1,20}:\d{1,20}=\d{1,15}$/, 'must be like 0=2049:131=8388608')
  .transform((text): DiskTraits => {
    const [index, identity = '', bytes] = text.split('=');
    return { index: Number(index), identity, bytes: Number(bytes) };
  });

const TraitsSchema = z.object({
  qemu: z
    .string()
    .regex(/^\d{1,4}\.\d{1,4}\.\d{1,6}$/, 'must be like 7.2.22')
    .transform((text) => text.split('.').map(Number)),
  machine: Name,
  accel: z.enum(['kvm', 'tcg']),
  cpu: Name,
  cpuLacks: Words,
  hostCpu: z
    .string()
    .regex(/^[A-Za-z0-9]{0,16} [0-9-]{0,32}$/, 'must be a vendor and a signature')
    .optional(),
  hostFlags: Words,
  pageBytes: Count,
  kernel: Hash.optional(),
  initrd: Hash.optional(),
  boot: z.string().regex(/^[0-9a-f-]{1,64}$/, 'must be a boot id'),
  disks: z.array(Disk).max(64, 'must be at most 64'),
});

/**
 * What a source tells of its guest. Nothing of it is trusted: it is compared and shown, and opens nothing. Names that are not
 * known are left out. Throws invalid-request, saying what is wrong.
 */
export function readTraits(traits: Readonly<Record<string, string>>): GuestTraits {
  const value = (name: string) => (Object.hasOwn(traits, name) ? traits[name] : undefined);
  const words = (name: string) =>
    Array.from({ length: MAX_PIECES }, (_, index) => value(`${name}${index + 1}`) ?? '')
      .flatMap((text) => text.split(' '))
      .filter((word) => word !== '');
  const given = {
    ...Object.fromEntries(Object.keys(TraitsSchema.shape).map((name) => [name, value(name)])),
    cpuLacks: words('cpuLacks'),
    hostFlags: words('hostFlags'),
    disks: words('disks'),
  };
  const { hostCpu, hostFlags, kernel, initrd, ...rest } = validate(
    TraitsSchema,
    given,
    'invalid-request',
    'what the source tells of the guest',
  );
  const [vendor = '', signature = ''] = hostCpu?.split(' ') ?? [];
  return {
    ...rest,
    hostCpu: hostCpu === undefined ? null : { vendor, signature, flags: hostFlags },
    kernel: kernel ?? null,
    initrd: initrd ?? null,
  };
}
