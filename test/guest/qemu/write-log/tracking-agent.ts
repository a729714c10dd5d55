import { UserfaultfdLog } from '../../../../agent/guest/qemu/write-log/userfaultfd-log.js';

/** Follows the writes of a process until it is killed. Arguments: pid, device, inode, bytes. */
const [pid, device, inode, bytes] = process.argv.slice(2).map(Number);

const memory = new Uint8Array(bytes!);
const region = {
  device: device!,
  inode: inode!,
  fileOffset: 0,
  memory,
  populated: () => [],
  allocatedPages: () => 0,
};
await new UserfaultfdLog(pid!, [region], 'a test', () => false).start();
process.send!('tracking');
setInterval(() => undefined, 2 ** 30);
