import { libc } from './libc.js';
import { SystemCallError } from './system-call-error.js';

/** The system calls that node has no function for. Each throws SystemCallError; numbers are those of Linux' headers. */

const PROT_READ_WRITE = 1 | 2;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const SEEK_DATA = 3;
const ENXIO = 6;
// Of linux/tcp.h: the option, and where its structure has what is read of it.
const IPPROTO_TCP = 6;
const TCP_INFO = 11;
const TCP_INFO_BYTES = 512;
const TCPI_PMTU = 60;
const TCPI_MIN_RTT = 148;
/** struct timex has fewer on every architecture. bytes */
const TIMEX_BYTES = 256;
const TIME_ERROR = 5;
const F_DUPFD_CLOEXEC = 1030;
const LOCK_EXCLUSIVE_AT_ONCE = 2 | 4;
const EWOULDBLOCK = 11;
const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
// The same number on every architecture: they came after the tables were unified.
const SYS_PIDFD_OPEN = 434;
const SYS_PIDFD_GETFD = 438;

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;

function check(call: string, result: number): number {
  if (result === -1) throw new SystemCallError(call, libc().errno());
  return result;
}

/** Maps part of an open file, readable and writable, shared with its other users. Returns the address. */
export function mapShared(fd: number, offset: number, bytes: number): number {
  return check('mmap', libc().mmap(0, bytes, PROT_READ_WRITE, MAP_SHARED | MAP_NORESERVE, fd, offset));
}

/** Maps zeroed memory of this process alone: where the kernel likes, or in the place of what is at `address`. */
export function mapAnonymous(bytes: number, address = 0): number {
  const fixed = address === 0 ? 0 : MAP_FIXED;
  const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed;
  return check('mmap', libc().mmap(address, bytes, PROT_READ_WRITE, flags, -1, 0));
}

export function unmap(address: number, bytes: number): void {
  check('munmap', libc().munmap(address, bytes));
}

/**
 * The memory at an address, not copied. It must stay mapped for as long as the buffer, or any view of it, can be reached:
 * an access after that ends the process.
 */
export function memoryAt(address: number, bytes: number): ArrayBuffer {
  return libc().view(address, bytes);
}

/** Where `buffer` is in memory: for structures that hold pointers. The buffer must outlive the call that uses it. */
export function addressOf(buffer: Uint8Array): number {
  return libc().address(buffer);
}

/** The first data at or after `offset`; undefined if only holes follow. Moves the position of `fd`. */
export function seekData(fd: number, offset: number): number | undefined {
  const data = libc().lseek(fd, offset, SEEK_DATA);
  if (data !== -1) return data;
  const errno = libc().errno();
  if (errno === ENXIO) return undefined;
  throw new SystemCallError('lseek', errno);
}

/** Which pages of mapped memory the kernel has in memory: bit 0 of a byte each, in `pages`. */
export function residentPages(address: number, bytes: number, pages: Uint8Array): void {
  check('mincore', libc().mincore(address, bytes, pages));
}

/** Gives back the memory of part of a file, which reads as zero then. */
export function punchHole(fd: number, offset: number, bytes: number): void {
  check('fallocate', libc().fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes));
}

/** Locks an open file or directory until its descriptor is closed, however that comes; false where another one has it locked. */
export function lockFile(fd: number): boolean {
  if (libc().flock(fd, LOCK_EXCLUSIVE_AT_ONCE) === 0) return true;
  const errno = libc().errno();
  if (errno === EWOULDBLOCK) return false;
  throw new SystemCallError('flock', errno);
}

/** Another descriptor of the same open file, closed on exec. */
export function duplicateDescriptor(fd: number): number {
  return check('fcntl', libc().fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

/** An ioctl whose argument is a structure, updated in place. `name` is for the error. */
export function ioctl(name: string, fd: number, request: number, argument: Uint8Array): number {
  return check(`ioctl ${name}`, libc().ioctl(fd, request, argument));
}

/** An unconnected unix datagram socket, closed on exec. */
export function datagramSocket(): number {
  return check('socket', libc().socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

/** Sends one datagram to a `sockaddr_un`; throws EAGAIN where the receiver has no room for it. */
export function sendDatagram(fd: number, data: Uint8Array, address: Uint8Array): void {
  const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
  check('sendto', libc().sendto(fd, data, data.length, flags, address, address.length));
}

/** System call `number` of this machine, by number. */
export function systemCall(name: string, number: number, first: number, second = 0, third = 0): number {
  return check(name, libc().syscall(number, first, second, third));
}

/**
 * Reads memory of another process; returns the bytes that could be read: fewer where not all is mapped and readable. Throws EFAULT if
 * none can, ESRCH, EPERM without ptrace access.
 */
export function readProcessMemory(pid: number, address: number, buffer: Uint8Array): number {
  const own = vectorOf(addressOf(buffer), buffer.length);
  const foreign = vectorOf(address, buffer.length);
  return check('process_vm_readv', libc().process_vm_readv(pid, own, 1, foreign, 1, 0));
}

/** Writes memory of another process, as readProcessMemory() reads it. */
export function writeProcessMemory(pid: number, address: number, bytes: Uint8Array): number {
  const own = vectorOf(addressOf(bytes), bytes.length);
  const foreign = vectorOf(address, bytes.length);
  return check('process_vm_writev', libc().process_vm_writev(pid, own, 1, foreign, 1, 0));
}

/** struct iovec. */
export function vectorOf(address: number, bytes: number): Buffer {
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(BigInt(address));
  vector.writeBigUInt64LE(BigInt(bytes), 8);
  return vector;
}

/** A descriptor that stands for a process. Linux 5.3 or newer. */
export function pidfdOpen(pid: number): number {
  return systemCall('pidfd_open', SYS_PIDFD_OPEN, pid);
}

/** A duplicate of descriptor `foreignFd` of that process, closed on exec. Linux 5.6 or newer, CAP_SYS_PTRACE. */
export function pidfdGetfd(pidfd: number, foreignFd: number): number {
  return systemCall('pidfd_getfd', SYS_PIDFD_GETFD, pidfd, foreignFd);
}

/** What TCP knows of the way to the other end of a connected socket: longest packet that gets through (bytes), shortest round trip (ms). */
export function tcpPath(fd: number): { pathMtu: number; roundTripMs: number | null } {
  const info = Buffer.alloc(TCP_INFO_BYTES);
  const length = Buffer.alloc(4);
  length.writeInt32LE(info.length);
  check('getsockopt TCP_INFO', libc().getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, length));
  const known = length.readInt32LE() >= TCPI_MIN_RTT + 4;
  return {
    pathMtu: info.readUInt32LE(TCPI_PMTU),
    roundTripMs: known ? info.readUInt32LE(TCPI_MIN_RTT) / 1000 : null,
  };
}

/** Whether the kernel's clock is kept in time by a program that does that, as chrony. Changes nothing. */
export function clockIsKept(): boolean {
  return check('adjtimex', libc().adjtimex(new Uint8Array(TIMEX_BYTES))) !== TIME_ERROR;
}
