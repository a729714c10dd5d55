import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { PayloadSiphon } from '../../agent/link/payload-siphon.js';
import { cutAt } from '../support/link-decoded-frames.js';

class FakeSocket extends PassThrough {
  setTimeout(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }
}

function siphon(): { siphon: PayloadSiphon; payload: () => string; passedOn: () => string } {
  const instance = new PayloadSiphon(new FakeSocket() as unknown as Socket);
  const pieces: Buffer[] = [];
  instance.onPayload((piece) => pieces.push(Buffer.from(piece)));
  return {
    siphon: instance,
    payload: () => Buffer.concat(pieces).toString('hex'),
    passedOn: () => ((instance.read() as Buffer | null) ?? Buffer.alloc(0)).toString('hex'),
  };
}

/** A WebSocket frame as RFC 6455, 5.2 has it; masked unless `mask` is null. */
function webSocketFrame(first: number, content: Uint8Array, mask: Buffer | null): Buffer {
  const length =
    content.length < 126
      ? Buffer.of(content.length)
      : content.length < 65_536
        ? Buffer.of(126, content.length >> 8, content.length & 0xff)
        : Buffer.of(
            127,
            0,
            0,
            0,
            0,
            0,
            content.length >> 16,
            (content.length >> 8) & 0xff,
            content.length & 0xff,
          );
  if (mask) length[0] = (length[0] ?? 0) | 0x80;
  const masked = Buffer.from(content.map((byte, index) => byte ^ (mask?.[index & 3] ?? 0)));
  return Buffer.concat([Buffer.of(first), length, mask ?? Buffer.alloc(0), masked]);
}

const mask = fc.oneof(
  fc.constant(Buffer.alloc(4)),
  fc.uint8Array({ minLength: 4, maxLength: 4 }).map((bytes) => Buffer.from(bytes)),
);

void t.test('payload goes one way and all else the other, however the stream is cut', (t) => {
  const piece = fc.record({
    ping: fc.option(fc.uint8Array({ maxLength: 125 }), { nil: null }),
    content: fc.oneof(
      fc.uint8Array({ maxLength: 140 }),
      fc.constantFrom(126, 65_535, 65_536, 70_000).map((length) => new Uint8Array(length).fill(length)),
    ),
    mask,
    final: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 6 }), fc.array(fc.nat(), { maxLength: 8 }), (pieces, cuts) => {
      const stream: Buffer[] = [];
      const control: Buffer[] = [];
      let within = false;
      for (const { ping, content, mask, final } of pieces) {
        if (ping) {
          control.push(webSocketFrame(0x89, ping, mask));
          stream.push(control.at(-1) ?? Buffer.alloc(0));
        }
        stream.push(webSocketFrame((final ? 0x80 : 0) | (within ? 0 : 2), content, mask));
        within = !final;
      }
      const expected = Buffer.concat(pieces.map(({ content }) => content)).toString('hex');
      const target = siphon();
      for (const chunk of cutAt(Buffer.concat(stream), cuts)) target.siphon.feed(Buffer.from(chunk));
      return target.payload() === expected && target.passedOn() === Buffer.concat(control).toString('hex');
    }),
    { numRuns: 300 },
  );
  t.pass();
  t.end();
});

void t.test('what breaks the protocol is left to the library', (t) => {
  const zero = Buffer.alloc(4);
  const wrong: [string, Buffer][] = [
    ['no mask', webSocketFrame(0x82, Uint8Array.of(1), null)],
    ['a reserved bit', webSocketFrame(0xc2, Uint8Array.of(1), zero)],
    ['text', webSocketFrame(0x81, Uint8Array.of(65), zero)],
    ['a continuation of nothing', webSocketFrame(0x80, Uint8Array.of(1), zero)],
    ['too much', Buffer.from('82ff0000000000100001000000000a', 'hex')],
    ['far too much', Buffer.from('82ffffffffffffffffff00000000', 'hex')],
  ];
  for (const [name, frame] of wrong) {
    const target = siphon();
    target.siphon.feed(Buffer.from(frame));
    t.equal(target.payload(), '', name);
    t.equal(target.passedOn(), frame.toString('hex'), name);
  }
  t.end();
});
