import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { QmpConnection } from '../../../agent/guest/qemu/qmp/qmp-connection.js';
import { QmpConnectionError, QmpError } from '../../../agent/guest/qemu/qmp/qmp-errors.js';
import { MAX_LINE_BYTES } from '../../../agent/guest/qemu/qmp/qmp-lines.js';
import { event, GREETING, refusal, reply, type ScriptedCommand } from '../../support/scripted-qmp-server.js';
import { mutatedBytes } from '../mutate.js';
import type { Random } from '../random.js';
import type { FuzzTarget, FuzzTargetKind } from '../target.js';

/** A connection to a monitor, by a real socket, whose other end is no QEMU or one that has lost its mind. */

/** Commands that are under way at once. */
const COMMANDS = 4;

const EVENTS = [
  event('STOP'),
  event('MIGRATION', { status: 'completed' }),
  event('JOB', { deep: [[{ a: [1] }]] }),
];

const line = (text: string) => Buffer.from(`${text}\r\n`);

/** What it says to a command, in lines; the last one answers it. */
function answer(random: Random, command: ScriptedCommand): Buffer[] {
  const said = random.chance(3) ? [line(random.pick(EVENTS))] : [];
  said.push(
    line(random.chance(4) ? refusal(command, 'GenericError', 'no') : reply(command, { of: command.id })),
  );
  return said;
}

/** The same, gone wrong: what it may be instead of a line. */
function nonsense(random: Random, command: ScriptedCommand): Buffer {
  const samples = [GREETING, ...EVENTS, reply(command), refusal(command, 'GenericError', 'no')].map(line);
  switch (random.below(8)) {
    case 0:
      return line(reply({ ...command, id: random.pick([0, -1, 1.5, 2 ** 53, command.id + 100]) }));
    case 1:
      return line('['.repeat(random.below(200_000)));
    case 2:
      return line(`{"return": ${'{"a":'.repeat(20_000)}0${'}'.repeat(20_000)}, "id": ${command.id}}`);
    case 3:
      return Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0xc0, 0x80, 0x22, 0x7d, 0x0a]);
    case 4:
      return random.chance(20)
        ? Buffer.alloc(MAX_LINE_BYTES + 1, 0x20)
        : Buffer.alloc(random.below(70_000), 0x7b);
    default:
      return mutatedBytes(random, samples);
  }
}

/** In pieces, as a socket may bring them. */
function write(socket: Socket, random: Random, bytes: Buffer): void {
  for (let at = 0; at < bytes.length;) {
    const length = random.chance(3) ? 1 + random.below(64) : bytes.length;
    socket.write(bytes.subarray(at, at + length));
    at += length;
  }
}

async function open(): Promise<FuzzTarget> {
  const directory = await mkdtemp(join(tmpdir(), 'vmferry-fuzz-'));
  const path = join(directory, 'qmp');
  let serve: (socket: Socket) => void = () => undefined;
  const clients = new Set<Socket>();
  const server = createServer((socket) => {
    clients.add(socket.on('error', () => undefined).on('close', () => clients.delete(socket)));
    serve(socket);
  });
  server.listen(path);
  await once(server, 'listening');

  async function run(random: Random): Promise<void> {
    /** Everything that it says is QMP, so all of it must arrive. */
    const sane = random.chance(3);
    const answers = new Map<number, string>();
    serve = (socket) => {
      const wrong = !sane && random.chance(8);
      write(socket, random, wrong ? mutatedBytes(random, [line(GREETING)]) : line(GREETING));
      if (wrong) socket.end();
      let heard = 0;
      const pending: Buffer[] = [];
      const lines = createInterface({ input: socket });
      lines.on('error', () => undefined);
      lines.on('line', (text) => {
        const command = JSON.parse(text) as ScriptedCommand;
        if (command.execute === 'qmp_capabilities') {
          write(socket, random, line(reply(command)));
          return;
        }
        heard += 1;
        const said = sane || random.chance(2) ? answer(random, command) : [nonsense(random, command)];
        answers.set(command.id, said.at(-1)!.toString());
        pending.splice(random.below(pending.length + 1), 0, Buffer.concat(said));
        if (heard < COMMANDS) return;
        for (const bytes of pending) write(socket, random, bytes);
        if (sane || random.chance(2)) socket.end();
        else socket.destroy();
      });
    };
    try {
      const connection = await QmpConnection.connect(path);
      let events = 0;
      connection.onEvent(() => (events += 1));
      const outcomes = await Promise.allSettled([
        ...Array.from({ length: COMMANDS }, (_, n) => connection.execute('query-status', { n })),
        connection.nextEvent(({ name }) => name === 'NEVER'),
      ]);
      for (const [at, outcome] of outcomes.entries()) {
        const refused = outcome.status === 'rejected' && (outcome.reason as unknown) instanceof QmpError;
        const ended =
          outcome.status === 'rejected' && (outcome.reason as unknown) instanceof QmpConnectionError;
        if (outcome.status === 'rejected' && !refused && !ended) throw outcome.reason;
        // Its id is one more than that of the negotiation.
        const said = answers.get(at + 2);
        const isAnswer =
          outcome.status === 'fulfilled' ? said?.includes('return') : refused && said?.includes('error');
        if (sane && at < COMMANDS && !isAnswer) throw new Error(`command ${at} was answered ${said}`);
      }
      if (connection.closed === null) throw new Error('it was closed, and the connection does not know');
      connection.close();
    } catch (error) {
      if (sane || !(error instanceof QmpConnectionError)) throw error;
    }
    while (clients.size > 0) await new Promise((resolve) => setImmediate(resolve));
  }

  return {
    run,
    close: async () => {
      server.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

export const QMP_TARGET: FuzzTargetKind = { name: 'live-qmp', cases: 20_000, ciCases: 200, open };
