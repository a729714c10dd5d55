import type { Test } from 'tap';
import { StreamedPageSender } from '../../agent/link/page-sender.js';
import { PAGE_SIZE } from '../../shared/page.js';

/** Far more than is on its way at once. */
const BYTES = 256 * 2 ** 20;
const MOST_TAKEN = 64 * 2 ** 20;

/** Sends to somebody who does not read, until no more is taken, and holds that to its bound. `sending` is still open then. */
export async function sendUntilFull(
  t: Test,
  connections: ConstructorParameters<typeof StreamedPageSender>[0],
) {
  const sender = new StreamedPageSender(connections, { peer: 'node-b' });
  const memory = new Uint8Array(new SharedArrayBuffer(BYTES)).fill(5);
  let sent = false;
  const sending = sender
    .sendPages({ region: 0, firstPage: 0, pageCount: BYTES / PAGE_SIZE }, memory)
    .then(() => (sent = true));
  // what the kernel's buffers and the bound allow has been taken once nothing more is taken for a while
  let before = -1;
  while (sender.wireBytes !== before) {
    before = sender.wireBytes;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  t.notOk(sent);
  t.ok(sender.wireBytes < MOST_TAKEN, `${sender.wireBytes} bytes were taken`);
  return { sender, memory, sending };
}
