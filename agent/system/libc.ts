import { createRequire } from 'node:module';
import { MigrationError } from '../../shared/errors.js';

/** Between this process and another: arrays of struct iovec, and how many there are in each. */
type MemoryTransfer = (
  pid: number,
  own: Uint8Array,
  owns: number,
  foreign: Uint8Array,
  foreigns: number,
  flags: number,
) => number;

/**
 * The functions of the C library that system-calls.ts wraps. They return -1 and set errno on failure; addresses are
 * numbers, since those of user space fit into 47 bits, and a buffer stands for a pointer to its bytes.
 */
export interface Libc {
  mmap(address: number, bytes: number, protection: number, flags: number, fd: number, offset: number): number;
  munmap(address: number, bytes: number): number;
  mincore(address: number, bytes: number, pages: Uint8Array): number;
  lseek(fd: number, offset: number, whence: number): number;
  fallocate(fd: number, mode: number, offset: number, bytes: number): number;
  fcntl(fd: number, command: number, argument: number): number;
  flock(fd: number, operation: number): number;
  ioctl(fd: number, request: number, argument: Uint8Array): number;
  ptrace(request: number, tid: number, address: number, data: number): number;
  /** ptrace with a pointer to data. */
  ptraceData(request: number, tid: number, address: number, data: Uint8Array): number;
  process_vm_readv: MemoryTransfer;
  process_vm_writev: MemoryTransfer;
  prctl(option: number, second: number, third: number, fourth: number, fifth: number): number;
  waitid(idType: number, id: number, info: Uint8Array, options: number): number;
  getsockopt(fd: number, level: number, name: number, value: Uint8Array, length: Uint8Array): number;
  adjtimex(times: Uint8Array): number;
  socket(domain: number, type: number, protocol: number): number;
  sendto(
    fd: number,
    data: Uint8Array,
    bytes: number,
    flags: number,
    address: Uint8Array,
    addressBytes: number,
  ): number;
  /** Of glibc alone: throws where the C library is another. */
  mallopt(parameter: number, value: number): number;
  syscall(number: number, first: number, second: number, third: number): number;
  errno(): number;
  /** The memory at `address`, not copied. */
  view(address: number, bytes: number): ArrayBuffer;
  address(buffer: Uint8Array): number;
}

let loaded: Libc | undefined;

/** Loaded with the first call. Throws unsupported-guest where there is none for the platform: embedded guests need none. */
export function libc(): Libc {
  return (loaded ??= load());
}

function load(): Libc {
  const platform = `${process.platform} ${process.arch}`;
  if (process.platform !== 'linux') {
    throw new MigrationError('unsupported-guest', `QEMU guests need an agent on Linux: this is ${platform}`);
  }
  let koffi: typeof import('koffi').default;
  try {
    koffi = createRequire(import.meta.url)('koffi') as typeof koffi;
  } catch (cause) {
    throw new MigrationError(
      'unsupported-guest',
      `koffi, by which system calls are made, has no binary for ${platform}: reinstall with npm ci --include=optional, or use another machine`,
      { cause },
    );
  }
  // The library that node itself uses, whichever it is.
  const library = koffi.load(null);
  const declare = <K extends keyof Libc>(symbol: string, result: string, parameters: string[]): Libc[K] =>
    library.func(symbol, result, parameters);
  const transfer = ['int', 'void *', 'ulong', 'void *', 'ulong', 'ulong'];
  const ptrace = (data: string): string[] => ['int', 'int', 'intptr_t', data];
  return {
    mmap: declare<'mmap'>('mmap', 'intptr_t', ['intptr_t', 'size_t', 'int', 'int', 'int', 'int64_t']),
    munmap: declare<'munmap'>('munmap', 'int', ['intptr_t', 'size_t']),
    mincore: declare<'mincore'>('mincore', 'int', ['intptr_t', 'size_t', 'void *']),
    lseek: declare<'lseek'>('lseek', 'int64_t', ['int', 'int64_t', 'int']),
    fallocate: declare<'fallocate'>('fallocate', 'int', ['int', 'int', 'int64_t', 'int64_t']),
    // Variadic in C, as fcntl is. Their arguments are declared, since the calling conventions of Linux pass these alike.
    fcntl: declare<'fcntl'>('fcntl', 'int', ['int', 'int', 'int']),
    flock: declare<'flock'>('flock', 'int', ['int', 'int']),
    ioctl: declare<'ioctl'>('ioctl', 'int', ['int', 'ulong', 'void *']),
    ptrace: declare<'ptrace'>('ptrace', 'long', ptrace('intptr_t')),
    ptraceData: declare<'ptraceData'>('ptrace', 'long', ptrace('void *')),
    process_vm_readv: declare<'process_vm_readv'>('process_vm_readv', 'intptr_t', transfer),
    process_vm_writev: declare<'process_vm_writev'>('process_vm_writev', 'intptr_t', transfer),
    prctl: declare<'prctl'>('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong']),
    waitid: declare<'waitid'>('waitid', 'int', ['int', 'int', 'void *', 'int']),
    getsockopt: declare<'getsockopt'>('getsockopt', 'int', ['int', 'int', 'int', 'void *', 'void *']),
    adjtimex: declare<'adjtimex'>('adjtimex', 'int', ['void *']),
    socket: declare<'socket'>('socket', 'int', ['int', 'int', 'int']),
    sendto: declare<'sendto'>('sendto', 'intptr_t', ['int', 'void *', 'size_t', 'int', 'void *', 'uint']),
    mallopt: (parameter, value) => declare<'mallopt'>('mallopt', 'int', ['int', 'int'])(parameter, value),
    syscall: declare<'syscall'>('syscall', 'long', ['long', 'intptr_t', 'intptr_t', 'intptr_t']),
    errno: () => koffi.errno(),
    view: (address, bytes) => koffi.view(BigInt(address), bytes),
    address: (buffer) => Number(koffi.address(buffer)),
  };
}
