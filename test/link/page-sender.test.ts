import fc from 'fast-check';
import { test } from 'tap';
import type { Connection } from '../../agent/link/connection.js';
import { StreamedPageSender } from '../../agent/link/page-sender.js';
import type { Timers } from '../../shared/timers.js';
import { decodedFrames } from '../support/link-decoded-frames.js';
import { VirtualTimers } from '../support/link-virtual-timers.js';

/** A connection that keeps what is sent as it was when it was sent, and has taken it when it is told to. */
class KeptConnection implements Connection {
  readonly sent: Buffer[] = [];
  readonly #untaken: { data: Uint8Array; resolve: () => void }[] = [];

  send(data: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.#untaken.push({ data, resolve }));
  }

  /** Takes the next of what was sent; whether there was any. */
  take(): boolean {
    const next = this.#untaken.shift();
    if (!next) return false;
    this.sent.push(Buffer.from(next.data));
    next.resolve();
    return true;
  }

  onMessage(): void {
    // Pages flow one way.
  }

  onClose(): void {
    // It stays.
  }

  close(): void {
    // It stays.
  }

  setReadPaused(): void {
    // Nothing is to be read.
  }
}

/** Timers that fire `lateMs` later than they are asked to. */
function late(timers: Timers, lateMs: number): Timers {
  return { now: () => timers.now(), after: (ms, callback) => timers.after(ms + lateMs, callback) };
}

void test('under a limit, what is sent while others wait comes after them on every stream', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 9 }), { minLength: 3, maxLength: 3 }),
      async (waits) => {
        const timers = new VirtualTimers();
        const connections = [new KeptConnection(), new KeptConnection(), new KeptConnection()];
        const sender = new StreamedPageSender(connections, {
          peer: 'node b',
          bandwidthBytesPerSecond: 1_000_000,
          timers: late(timers, 1),
        });
        const sending = [sender.sendBlob('device-state', 0, Buffer.alloc(5000, 'a'))];
        const steps = [
          () => sender.sendRoundEnd(0),
          () => sender.sendBlob('device-state', 5000, Buffer.alloc(3000, 'b')),
          () => sender.sendRoundEnd(1),
        ];
        for (const [index, step] of steps.entries()) {
          await timers.advance(waits[index]!);
          sending.push(step());
        }
        for (let turn = 0; turn < 50; turn += 1) {
          await timers.advance(10);
          for (const connection of connections) while (connection.take());
        }
        await Promise.all(sending);
        const frames = connections.map(({ sent }) =>
          decodedFrames(sent).events.map((each) =>
            each.event === 'blob'
              ? each.offset
              : each.event === 'roundEnd'
                ? `end of ${each.round}`
                : each.event,
          ),
        );
        t.same(
          frames[0]?.filter((each) => each !== 4096),
          [0, 'end of 0', 5000, 'end of 1'],
        );
        t.same(frames.slice(1), [
          ['end of 0', 'end of 1'],
          ['end of 0', 'end of 1'],
        ]);
      },
    ),
    { numRuns: 50 },
  );
});

void test('small frames arrive as they were sent, however late the connection takes them', async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 5 }), fc.nat(3)), { minLength: 30, maxLength: 120 }),
      async (steps) => {
        const connection = new KeptConnection();
        const sender = new StreamedPageSender([connection], { peer: 'node b' });
        const expected: string[] = [];
        for (const [number, [pageCount, taken]] of steps.entries()) {
          const content = Buffer.alloc(pageCount * 4096, String.fromCharCode(33 + (number % 90)));
          expected.push(content.toString('latin1'));
          await sender.sendPages({ region: 0, firstPage: 8 * number, pageCount }, content);
          // Frames are handed over at the end of a turn.
          if (taken > 0) await new Promise((resolve) => setImmediate(resolve));
          for (let each = 0; each < taken; each += 1) connection.take();
        }
        const ended = sender.sendRoundEnd(0);
        for (let turn = 0; turn < 20; turn += 1) {
          await new Promise((resolve) => setImmediate(resolve));
          while (connection.take());
        }
        await ended;
        const { events, outcome } = decodedFrames(connection.sent);
        t.equal(outcome, 'complete');
        t.same(
          events.flatMap((each) => (each.event === 'payload' ? [each.content] : [])),
          expected,
        );
      },
    ),
    { numRuns: 40 },
  );
});
