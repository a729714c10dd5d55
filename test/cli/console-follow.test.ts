import fc from 'fast-check';
import t from 'tap';
import { followConsole, type ConsoleSource } from '../../scripts/cli/console-follow.js';
import { RECONNECT_DELAYS_MS } from '../../client/follow-migration.js';
import type { ConsoleChunk, ConsoleEnd } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { consoleChunk } from '../support/api-samples.js';

const FINISHED: ConsoleEnd = { reason: 'finished', to: null };

interface Visit {
  /** How much is printed while the VM is here. */
  readonly bytes: number;
  /** Chunks are of this length and begin at multiples of it, wherever the client is. */
  readonly chunk: number;
  /** The stream breaks after so many chunks, that often. */
  readonly breaks: readonly number[];
  /** Answers 'not-found' at first: the agent has not heard of the arrival yet. */
  readonly late: boolean;
}

/** Agents that a VM visits one after the other; each has the whole transcript until the VM left. */
function cluster(transcript: string, visits: readonly Visit[]) {
  const last = visits.length - 1;
  let end = 0;
  const sources = visits.map((visit, n): ConsoleSource => {
    end = n === last ? transcript.length : Math.min(transcript.length, end + visit.bytes);
    const until = end;
    const breaks = [...visit.breaks];
    let late = visit.late && n > 0;
    return {
      url: `http://node-${n}`,
      async *followConsole(_name, position): AsyncGenerator<ConsoleChunk, ConsoleEnd | null> {
        await Promise.resolve();
        if (late) {
          late = false;
          throw new MigrationError('not-found', 'not here yet');
        }
        const limit = breaks.shift() ?? Infinity;
        let sent = 0;
        for (let at = position - (position % visit.chunk); at < until; at += visit.chunk) {
          if (sent++ >= limit) throw new MigrationError('link-lost', 'broke');
          yield consoleChunk(at, transcript.slice(at, Math.min(at + visit.chunk, until)));
        }
        return n === last
          ? FINISHED
          : { reason: 'moved', to: { node: `n${n + 1}`, url: `http://node-${n + 1}` } };
      },
    };
  });
  return {
    first: sources[0] as ConsoleSource,
    connect: (url: string) => sources.find((source) => source.url === url) as ConsoleSource,
  };
}

const follow = async (
  { first, connect }: ReturnType<typeof cluster>,
  position = 0,
): Promise<{ text: string; end: ConsoleEnd | null; remarks: string[] }> => {
  const pieces: Buffer[] = [];
  const remarks: string[] = [];
  const end = await followConsole({
    client: first,
    name: 'web-1',
    position,
    connect,
    write: async (bytes) => {
      pieces.push(Buffer.from(bytes));
      await Promise.resolve();
    },
    remark: (line) => remarks.push(line),
    signal: new AbortController().signal,
    delay: async () => await Promise.resolve(),
  });
  return { text: Buffer.concat(pieces).toString('latin1'), end, remarks };
};

await t.test(
  'a transcript without gap or repetition, whatever breaks and wherever the VM goes',
  async (t) => {
    const visit = fc.record({
      bytes: fc.nat(50),
      chunk: fc.integer({ min: 1, max: 20 }),
      breaks: fc.array(fc.nat(3), { maxLength: RECONNECT_DELAYS_MS.length - 1 }),
      late: fc.boolean(),
    });
    const bytes = fc.uint8Array({ minLength: 1, maxLength: 200 });
    await fc.assert(
      fc.asyncProperty(
        bytes,
        fc.array(visit, { minLength: 1, maxLength: 5 }),
        fc.nat(100),
        async (printed, visits, from) => {
          const transcript = Buffer.from(printed).toString('latin1');
          const position = Math.min(from, transcript.length);
          const { text, end } = await follow(cluster(transcript, visits), position);
          t.equal(text, transcript.slice(position));
          t.same(end, FINISHED);
        },
      ),
      { numRuns: 300 },
    );
  },
);

await t.test('says what is missing and where the VM went', async (t) => {
  const b: ConsoleSource = {
    url: 'http://b',
    async *followConsole() {
      await Promise.resolve();
      yield consoleChunk(10, 'late\n');
      return FINISHED;
    },
  };
  const a: ConsoleSource = {
    url: 'http://a',
    async *followConsole() {
      await Promise.resolve();
      yield consoleChunk(2, 'ab');
      return { reason: 'moved', to: { node: 'b', url: 'http://b' } };
    },
  };
  const { text, remarks } = await follow({ first: a, connect: () => b });
  t.equal(text, 'ablate\n');
  t.same(remarks, [
    'web-1 moved to b; its console goes on there',
    '6 bytes of the console of web-1 are missing: no longer kept',
  ]);
});

await t.test('prints on from where the console ends when asked for what is not printed yet', async (t) => {
  const restarted: ConsoleSource = {
    url: 'http://a',
    async *followConsole() {
      await Promise.resolve();
      yield consoleChunk(3, '');
      yield consoleChunk(3, 'def');
      return FINISHED;
    },
  };
  const { text } = await follow({ first: restarted, connect: () => restarted }, 1000);
  t.equal(text, 'def');
});

await t.test('tries again as often as it is told to, then throws why it can not', async (t) => {
  const waited: number[] = [];
  const down: ConsoleSource = {
    url: 'http://a',
    // eslint-disable-next-line require-yield -- an agent that is not there
    async *followConsole() {
      await Promise.resolve();
      throw new MigrationError('peer-unreachable', 'the connection is refused');
    },
  };
  const following = followConsole({
    client: down,
    name: 'web-1',
    position: 0,
    connect: () => down,
    write: () => Promise.resolve(),
    remark: (line) => t.fail(line),
    signal: new AbortController().signal,
    delaysMs: [1, 20, 300],
    delay: (ms) => Promise.resolve(waited.push(ms)),
  });
  await t.rejects(following, { code: 'peer-unreachable' });
  t.same(waited, [1, 20, 300]);
});

await t.test('gives up where the VM went out of reach', async (t) => {
  const nowhere: ConsoleSource = {
    url: 'http://a',
    // eslint-disable-next-line require-yield -- a console that ends at once
    async *followConsole() {
      await Promise.resolve();
      return { reason: 'moved', to: null };
    },
  };
  await t.rejects(follow({ first: nowhere, connect: () => nowhere }), {
    message: /moved to a node whose address this agent does not know/,
  });
});
