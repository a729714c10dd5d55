import { randomBytes } from 'node:crypto';
import t from 'tap';
import fc from 'fast-check';
import type { Connection } from '../../agent/link/connection.js';
import { connectedPair } from '../../agent/link/memory-connection.js';
import { receivePages } from '../../agent/link/page-receiver.js';
import { StreamedPageSender } from '../../agent/link/page-sender.js';
import type { PageSink } from '../../agent/link/link.js';
import { MigrationError } from '../../shared/errors.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { CLOSE_CODES } from '../../shared/protocol/close-codes.js';
import { RecordingSink } from '../support/link-sink.js';

function connected(streams: number, sink: PageSink, options: { signal?: AbortSignal } = {}) {
  const pairs = Array.from({ length: streams }, () => connectedPair());
  const ends: Promise<MigrationError | null>[] = pairs.map(
    ([, far], stream) => new Promise((resolve) => receivePages(far, stream, sink, 'node-a', resolve)),
  );
  const near: Connection[] = pairs.map(([end]) => end);
  return { sender: new StreamedPageSender(near, { peer: 'node-b', ...options }), ends, pairs };
}

void t.test('what is sent arrives, over any number of streams', async (t) => {
  const pages = 1200;
  const source = new Uint8Array(new SharedArrayBuffer(pages * PAGE_SIZE));
  source.set(randomBytes(source.length));
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.array(
        fc.record({
          zero: fc.boolean(),
          firstPage: fc.nat(pages - 1),
          pageCount: fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 700 })),
        }),
        { maxLength: 12 },
      ),
      async (streams, runs) => {
        const expected = new Uint8Array(source.length).fill(7);
        const sink = new RecordingSink([new Uint8Array(0), new Uint8Array(source.length).fill(7)]);
        const { sender, ends } = connected(streams, sink);
        for (const { zero, firstPage, pageCount: wanted } of runs) {
          const pageCount = Math.min(wanted, pages - firstPage);
          const run = { region: 1, firstPage, pageCount };
          const data = source.subarray(firstPage * PAGE_SIZE, (firstPage + pageCount) * PAGE_SIZE);
          if (zero) await sender.sendZeroPages(run);
          else await sender.sendPages(run, data);
          if (zero) expected.fill(0, firstPage * PAGE_SIZE, (firstPage + pageCount) * PAGE_SIZE);
          else expected.set(data, firstPage * PAGE_SIZE);
        }
        await sender.sendRoundEnd(3);
        await sink.roundEnded(3, streams);
        sender.close();
        return (
          Buffer.compare(sink.regions[1] ?? new Uint8Array(0), expected) === 0 &&
          (await Promise.all(ends)).every((error) => error === null)
        );
      },
    ),
    { numRuns: 60 },
  );
  t.pass();
});

void t.test('a blob arrives whole, and is not held back', async (t) => {
  const sink = new RecordingSink([]);
  const { sender } = connected(2, sink);
  const blob = randomBytes(3 * 2 ** 20 + 5);
  await sender.sendBlob('program-image', 0, blob);
  await sender.sendBlob('device-state', 0, new Uint8Array([1, 2, 3]));
  await sender.sendRoundEnd(0);
  await sink.roundEnded(0, 2);
  t.equal(Buffer.compare(sink.blobs.get('program-image') ?? new Uint8Array(0), blob), 0);
  t.same(sink.blobs.get('device-state'), new Uint8Array([1, 2, 3]));
  t.equal(sender.wireBytes, blob.length + 3 + (4 + 1 + 2) * 24);
});

void t.test('what the sink refuses closes the stream with its code, on both sides', async (t) => {
  const sink = new RecordingSink([]);
  sink.pages = () => {
    throw new MigrationError('out-of-range', 'region 4 does not exist');
  };
  const { sender, ends } = connected(1, sink);
  const closed = new Promise((resolve) => sender.onClose(resolve));
  await sender.sendPages({ region: 4, firstPage: 0, pageCount: 1 }, new Uint8Array(PAGE_SIZE));
  t.match(await ends[0], { code: 'out-of-range' });
  t.match(await closed, { code: CLOSE_CODES['out-of-range'], local: false });
  await t.rejects(sender.sendRoundEnd(0), { code: 'out-of-range', message: /region 4 does not exist/ });
});

void t.test('a stream that breaks fails the sender and tells the receiver', async (t) => {
  const { sender, ends, pairs } = connected(2, new RecordingSink([]));
  pairs[1]?.[0].cut('cable pulled');
  t.match(await ends[1], { code: 'link-lost', message: /cable pulled/ });
  await t.rejects(sender.sendZeroPages({ region: 0, firstPage: 0, pageCount: 1 }), { code: 'link-lost' });
});

void t.test('an abort ends what waits for room', async (t) => {
  const abort = new AbortController();
  const [near] = connectedPair();
  // the far end never reads
  const sender = new StreamedPageSender([near], { peer: 'node-b', signal: abort.signal });
  const sending = sender.sendPages(
    { region: 0, firstPage: 0, pageCount: 8192 },
    new Uint8Array(8192 * PAGE_SIZE),
  );
  abort.abort(new MigrationError('cancelled', 'cancelled by the operator'));
  await t.rejects(sending, { code: 'cancelled', message: 'cancelled by the operator' });
  t.ok(sender.wireBytes <= 9 * 2 ** 20, 'what is in flight is bounded');
});
