import { setImmediate } from 'node:timers/promises';
import { hashHex } from '../../../agent/guest/page-hash.js';
import { PAGES_PATH } from '../../../agent/link/link-paths.js';
import { PAGE_TOKEN_HEADER } from '../../../agent/link/page-token.js';
import { PAGE_SIZE } from '../../../shared/page.js';
import {
  encodeBlobHeader,
  encodePagesHeader,
  encodeRoundEnd,
  encodeZeroPages,
} from '../../../shared/protocol/frame.js';
import type { TargetMessage } from '../../../shared/protocol/messages.js';
import type { HostedArrayGuest } from '../../support/hosted-array-guest.js';
import { startLiveTarget, UPGRADED } from '../../support/live-target.js';
import { prepareMessage, RawPeer, RawSocket } from '../../support/raw-peer.js';
import { mutatedBytes } from '../mutate.js';
import type { Random } from '../random.js';
import type { FuzzTarget, FuzzTargetKind } from '../target.js';

/**
 * Page streams of live migrations, over TCP and over WebSocket, by the product's own server, lock, sessions and threads. Nothing is
 * written outside of the guest's memory, nor to one that is committed, and whatever came, the next migration begins.
 */

const VM = 'target-vm';
const MEMORY_BYTES = 2 ** 20;
const PAGES = MEMORY_BYTES / PAGE_SIZE;
/** On both sides of the memory; what is written there is a defect. */
const GUARD = Buffer.alloc(32 * PAGE_SIZE, 0xa5);
const OFFERED = 'the-token-of-the-source';
const STATE = Uint8Array.from([1, 2, 3]);

const page = (value: number) => Buffer.alloc(PAGE_SIZE, value);
const FRAMES = [
  Buffer.concat([encodePagesHeader({ region: 0, firstPage: 2, pageCount: 1 }), page(7)]),
  Buffer.concat([encodePagesHeader({ region: 0, firstPage: PAGES - 2, pageCount: 2 }), page(8), page(9)]),
  Buffer.concat([
    encodePagesHeader({ region: 0, firstPage: PAGES - 1, pageCount: 16 }),
    Buffer.alloc(16 * PAGE_SIZE, 3),
  ]),
  Buffer.concat([encodePagesHeader({ region: 1, firstPage: 0, pageCount: 1 }), page(9)]),
  Buffer.concat([encodePagesHeader({ region: 0, firstPage: 2 ** 40 - 1, pageCount: 1 }), page(9)]),
  Buffer.from(encodeZeroPages({ region: 0, firstPage: PAGES - 4, pageCount: 8 })),
  Buffer.from(encodeZeroPages({ region: 0, firstPage: 3, pageCount: 12 })),
  Buffer.concat([encodeBlobHeader('device-state', 0, 3), STATE]),
  Buffer.concat([encodeBlobHeader('program-image', 0, 3), STATE]),
  Buffer.from(encodeRoundEnd(0)),
  Buffer.from(encodeRoundEnd(1)),
];

/** The source's end of one page stream. */
interface Writer {
  send(bytes: Uint8Array): void;
  cut(): void;
}

interface Migration {
  readonly random: Random;
  readonly peer: RawPeer;
  readonly writers: Writer[];
  readonly token: string;
}

async function open(): Promise<FuzzTarget> {
  let guest: HostedArrayGuest | null = null;
  let whole: Buffer = Buffer.alloc(0);
  let threaded = false;
  const onMake = (incoming: HostedArrayGuest) => {
    guest = incoming;
    const name = 'ram0';
    if (threaded) {
      // Threads get at whole buffers alone.
      const buffer = new SharedArrayBuffer(MEMORY_BYTES);
      Object.assign(incoming, {
        regions: [{ name, memory: new Uint8Array(buffer), handle: { name, buffer } }],
      });
      return;
    }
    whole = Buffer.from(new SharedArrayBuffer(MEMORY_BYTES + 2 * GUARD.length)).fill(GUARD);
    const memory = new Uint8Array(whole.buffer, GUARD.length, MEMORY_BYTES).fill(0);
    Object.assign(incoming, { regions: [{ name, memory }] });
  };
  const target = await startLiveTarget({ onMake });
  const { lock, journal, guests, incoming, source } = target;

  /** Streams that the target opens: a raw socket each, upgraded as it should be or not quite. */
  function acceptStreams(random: Random, writers: Writer[], answer: Buffer | null): void {
    source.dialled = (socket) => {
      socket.once('data', (request: Buffer) => {
        socket.write(answer ?? UPGRADED);
        if (answer) socket.end();
        socket.resume();
        const stream = Number(/&stream=(\d+) /.exec(request.toString('latin1'))?.[1]);
        writers[stream] = {
          send: (bytes) => socket.write(bytes),
          cut: () => (random.chance(2) ? socket.end() : socket.destroy()),
        };
      });
    };
  }

  async function openStream(
    { peer, token }: Pick<Migration, 'peer' | 'token'>,
    stream: number,
  ): Promise<RawSocket | null> {
    try {
      const path = `${PAGES_PATH}?migration=${peer.migrationId}&stream=${stream}`;
      return await RawSocket.open(target.url, path, { [PAGE_TOKEN_HEADER]: token });
    } catch {
      return null;
    }
  }

  /** Frames that are right, or nearly, in pieces. */
  async function garble({ random, writers }: Migration): Promise<void> {
    for (let left = 1 + random.below(6); left > 0 && writers.length > 0; left -= 1) {
      const writer = random.pick(writers);
      const bytes = random.chance(2) ? random.pick(FRAMES) : mutatedBytes(random, FRAMES);
      const cut = random.below(bytes.length + 1);
      for (const piece of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
        if (piece.length > 0) writer.send(piece);
        if (random.chance(2)) await setImmediate();
      }
      if (random.chance(12)) writer.cut();
    }
  }

  /** One that would have been right before all was said to be sent. */
  async function lateFrame({ random, writers }: Migration): Promise<void> {
    random.pick(writers).send(random.pick(FRAMES.slice(0, 2)));
    for (let turns = random.below(20); turns > 0; turns -= 1) await setImmediate();
  }

  /** As a source should, up to the commit: two rounds and the state. What the target says in the end, if anything. */
  async function bring({ random, peer, writers }: Migration): Promise<TargetMessage | null> {
    let pagesSent = 0;
    for (const round of [0, 1]) {
      for (const writer of writers) {
        const pageCount = 1 + random.below(8);
        const firstPage = random.below(PAGES - pageCount + 1);
        writer.send(encodePagesHeader({ region: 0, firstPage, pageCount }));
        writer.send(Buffer.alloc(pageCount * PAGE_SIZE, 1 + random.below(255)));
        pagesSent += pageCount;
      }
      if (round === 1)
        writers[0]?.send(Buffer.concat([encodeBlobHeader('device-state', 0, STATE.length), STATE]));
      for (const writer of writers) writer.send(encodeRoundEnd(round));
    }
    peer.say({ type: 'finalize', round: 1, stateDigest: hashHex(STATE), pagesSent, resume: true });
    return await heard(peer, 'ready', 'error');
  }

  async function run(random: Random): Promise<void> {
    const streams = 1 + random.below(3);
    const tcp = random.chance(2);
    threaded = tcp && random.chance(2);
    const peer = await RawPeer.connect(target.url, `m-fuzz-${random.word()}`);
    await (await peer.greet({ node: 'evil', to: 'node-b' })).lock(VM);
    const writers: Writer[] = [];
    const wrongAnswer = tcp && random.chance(12) ? mutatedBytes(random, [Buffer.from(UPGRADED)]) : null;
    acceptStreams(random, writers, wrongAnswer);
    const prepare = prepareMessage({
      definition: { ...prepareMessage().definition, name: VM },
      regions: [{ name: 'ram0', bytes: MEMORY_BYTES }],
      verify: random.pick(['off', 'after', 'strict']),
      ...{ streams, ...(tcp && { pageToken: OFFERED }) },
    });
    const prepared = await heard(peer.say(prepare), 'prepared', 'error');
    if (wrongAnswer) {
      peer.socket.cut();
      await over(peer.migrationId, null);
      return;
    }
    if (prepared?.type !== 'prepared')
      throw new Error(`it could not be prepared: ${JSON.stringify(prepared)}`);
    const token = prepared.token;
    if (prepared.transport === 'websocket') {
      writers.length = 0;
      if (random.chance(4) && (await openStream({ peer, token: mutatedText(random, token) }, 0))) {
        throw new Error('a garbled token was taken');
      }
      for (let stream = 0; stream < streams; stream += 1) {
        const socket = await openStream({ peer, token }, stream);
        if (!socket) throw new Error('the right token was refused');
        writers.push({ send: (bytes) => socket.send(bytes), cut: () => socket.cut() });
      }
    }
    const migration = { random, peer, writers, token };
    let sealed: Buffer | null = null;
    const plan = random.below(4);
    if (plan < 2) {
      const answer = await bring(migration);
      if (answer?.type !== 'ready') throw new Error(`it was in good order: ${JSON.stringify(answer)}`);
      sealed = memory();
      const late = random.below(3);
      if (late === 0) await garble(migration);
      if (late === 1) await lateFrame(migration);
      peer.say({ type: 'commit' });
      if (random.chance(2)) await heard(peer, 'running', 'error');
    } else if (plan === 2) {
      await garble(migration);
      if (random.chance(2)) peer.say({ type: 'commit' });
    } else {
      // In the middle of a round the source forgets how far it was.
      void bring(migration).catch(() => undefined);
    }
    await garble(migration);
    if (random.chance(3)) peer.say(prepare);
    if (await stale(migration))
      throw new Error('a token was good for a second stream of that number, or a stream too many');
    peer.socket.cut();
    await over(peer.migrationId, sealed);
    for (const writer of writers) writer.cut();
    if (await openStream(migration, 0)) throw new Error('a token was good after the end');
    await target.endpoint.connectionsLeft(0);
    while (source.sockets.size > 0) await setImmediate();
    check(peer);
  }

  /** Opens streams with a token that has been used for as many as there may be. */
  async function stale(migration: Migration): Promise<boolean> {
    if (!migration.random.chance(3)) return false;
    return (await openStream(migration, migration.random.below(18))) !== null;
  }

  const memory = () => Buffer.from(guest!.regions[0]!.memory);

  /** Waits until all of the migration is over, looks at what it has left, and clears that away. */
  async function over(migration: string, sealed: Buffer | null): Promise<void> {
    while (incoming.list().some(({ phase }) => phase !== 'ended') || lock.entries().length > 0)
      await setImmediate();
    const committed = journal.get(migration)?.decision === 'committed';
    if (committed && !sealed) throw new Error('it committed what was not all sent');
    if (committed && !memory().equals(sealed!))
      throw new Error('the memory of a committed guest was written to');
    if (guest && !threaded) {
      const guards = [whole.subarray(0, GUARD.length), whole.subarray(-GUARD.length)];
      if (!guards.every((guard) => guard.equals(GUARD)))
        throw new Error('written outside of the regions of the guest');
    }
    if (committed) {
      await guests.stop(VM);
      await guests.undefine(VM);
    }
    await journal.forget(migration);
    if (guests.list().length > 0) throw new Error(`${JSON.stringify(guests.list())} is left`);
    target.made.clear();
    guest = null;
  }

  /** Nothing that a source sends is a defect of this side. */
  function check(peer: RawPeer): void {
    for (const message of peer.said()) {
      if (message.type === 'error' && message.code === 'internal') throw new Error(message.message);
    }
  }

  return { run, close: () => target.close() };
}

/** The first message of those types, or null if the connection ends without one. */
async function heard(peer: RawPeer, ...types: TargetMessage['type'][]): Promise<TargetMessage | null> {
  return await peer.hear(...types).catch(() => null);
}

/** A token that is another one, and can be in a header. */
function mutatedText(random: Random, text: string): string {
  const at = random.below(text.length);
  return random.pick([
    `${text}x`,
    text.slice(1),
    '',
    text.slice(0, at) + (text[at] === 'A' ? 'B' : 'A') + text.slice(at + 1),
  ]);
}

export const PAGES_TARGET: FuzzTargetKind = { name: 'live-pages', cases: 5000, ciCases: 40, open };
