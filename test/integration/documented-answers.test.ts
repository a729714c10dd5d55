import { EventEmitter, once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { pino } from 'pino';
import t, { type Test } from 'tap';
import { Agent } from '../../agent/agent.js';
import { journalText } from '../../agent/journal/ownership-journal.js';
import { AgentClient } from '../../client/agent-client.js';
import { followMigration } from '../../client/follow-migration.js';
import { createToken, tokenLine } from '../../shared/api-tokens.js';
import { type MigrationEvent, MigrationEventSchema } from '../../shared/api.js';
import { AgentConfigSchema } from '../../shared/config.js';
import { PAGE_SIZE } from '../../shared/page.js';
import { Cluster } from '../support/cluster.js';
import { definitionOf } from '../support/agent-lab.js';
import { DocumentedFetch } from '../support/documented-fetch.js';

/**
 * Everything that can be asked of agents is asked of real ones, with the client library, and held against the OpenAPI document. In order:
 * what the last tests say is of all that came before.
 */

/** Operations that the client library leaves to others, on purpose: to Prometheus, to load balancers, to makers of clients. */
const LEFT_OUT = { getMetrics: '/metrics', getHealth: '/healthz', getOpenApi: '/v1/openapi.json' };

const documented = new DocumentedFetch();
globalThis.fetch = documented.fetch;

const mute = await muteNode(t);
const cluster = await Cluster.start(['a', 'b'], {
  guestMemory: '64MiB',
  lock: { grace: '50ms' },
  peers: { mute: mute.url },
});
t.teardown(() => cluster.close());
const { url } = cluster.agent('a');
const a = new AgentClient(url);
const b = new AgentClient(cluster.agent('b').url);

/** Of a migration that runs until it is cancelled, and tells how far it is. */
const SLOW = { bandwidthBytesPerSecond: 400_000, maxRounds: 1000, stallRounds: 1000 };

/** What migrations tell that are followed. */
const told: MigrationEvent[] = [];
const telling = new EventEmitter();

await t.test('VMs', async (t) => {
  for (const [name, program] of [
    ['web', 'ticker'],
    ['slow', 'dirty'],
    ['waits', 'idle'],
  ] as const) {
    await a.defineGuest(definitionOf({ name, program, memory: 2 ** 21 }), undefined);
    t.equal((await a.changeGuest(name, 'start')).status, 'running');
  }
  t.equal((await a.changeGuest('web', 'pause')).status, 'paused');
  t.equal((await a.changeGuest('web', 'resume')).status, 'running');
  await a.sendConsoleInput('web', Buffer.from('ls\n'));
  const leave = new AbortController();
  for await (const { text } of a.followConsole('web', 0, leave.signal)) if (text !== '') break;
  leave.abort();
  t.not((await a.readConsole('web', 0)).text, '');
  t.equal((await a.guests()).length, 3);
  t.equal((await a.guest('web')).name, 'web');
  t.equal((await a.guestOutcome('web')).open, null);

  await a.defineGuest(definitionOf({ name: 'short-lived' }), undefined);
  await a.changeGuest('short-lived', 'start');
  const console = a.followConsole('short-lived', 0, new AbortController().signal);
  await console.next();
  await a.changeGuest('short-lived', 'stop');
  let next = await console.next();
  while (next.done !== true) next = await console.next();
  t.same(next.value, { reason: 'stopped', to: null });
  await a.undefineGuest('short-lived');

  const big = definitionOf({ name: 'big', memory: 2 ** 27 });
  await a.defineGuest(big, undefined);
  const failures: [string, () => Promise<unknown>][] = [
    ['name-taken', () => a.defineGuest(big, undefined)],
    ['invalid-definition', () => a.defineGuest({ ...big, memory: 1 }, undefined)],
    ['target-out-of-memory', () => a.changeGuest('big', 'start')],
    ['not-found', () => a.guest('nobody')],
    ['not-found', () => a.followConsole('nobody', 0, new AbortController().signal).next()],
    ['invalid-request', () => a.guest('no name')],
    ['wrong-state', () => a.undefineGuest('web')],
    ['wrong-state', () => a.changeGuest('web', 'start')],
    ['wrong-state', () => a.resolveGuest('web', { owner: 'a', force: false })],
    ['invalid-request', () => a.resolveGuest('web', { owner: '', force: false })],
    ['wrong-state', () => a.sendConsoleInput('big', Buffer.from('x'))],
    ['name-taken', () => a.adoptGuest('web', '/nowhere')],
  ];
  for (const [code, ask] of failures) await t.rejects(ask(), { code });
});

await t.test('a VM on QEMU, taken over', async (t) => {
  const socket = join(t.testdir(), 'qmp');
  const ram = join(t.testdirName, 'ram');
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      ...[
        '-machine',
        'q35,memory-backend=ram0',
        '-accel',
        'tcg',
        '-m',
        '16M',
        '-nodefaults',
        '-display',
        'none',
        '-S',
      ],
      ...['-object', `memory-backend-file,id=ram0,size=16M,mem-path=${ram},share=on`],
      ...['-qmp', 'stdio', '-qmp', `unix:${socket},server=on,wait=off`],
    ],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  );
  t.teardown(() => qemu.kill('SIGKILL'));
  // Its greeting: the other socket is there by then.
  await once(qemu.stdout, 'data');
  t.match(await b.adoptGuest('adopted', socket), { name: 'adopted', kind: 'qemu' });
  t.match(await b.guest('adopted'), { failure: null });
  await b.changeGuest('adopted', 'stop');
  await b.undefineGuest('adopted');
});

await t.test('migrations', async (t) => {
  const wanted = (vm: string, to: string, options: object = {}) => ({ vm, to, options });
  t.equal((await a.preflight(wanted('web', 'b'))).ok, true);
  for (const refused of [wanted('web', 'z'), wanted('nobody', 'b'), wanted('big', 'b')]) {
    t.equal((await a.preflight(refused)).ok, false);
  }
  const { id: slow } = await a.startMigration({ ...wanted('slow', 'b', SLOW), priority: 1 });
  const slowResult = followed(slow);
  await tells(({ event }) => event === 'progress');
  const { id: waits } = await a.startMigration(wanted('waits', 'b'));
  const waitsResult = followed(waits);
  await tells((each) => each.event === 'queue' && each.queue.waitsFor.length > 0);
  t.match(
    (await a.queue()).map(({ state }) => state),
    ['running', 'waiting'],
  );
  t.equal((await a.cluster()).queue.length, 2);
  t.match((await a.status()).migrations.map(({ phase }) => phase).sort(), ['copying', 'queued']);
  t.match((await b.status()).migrations, [{ role: 'target' }]);
  t.equal((await a.limitMigration(slow, 9000)).bandwidthBytesPerSecond, 9000);
  const busy = await a.startMigration({ ...wanted('web', 'b'), wait: false });
  t.match(await followed(busy.id), { outcome: 'failed', error: { code: 'pair-busy' } });
  t.equal((await a.cancelMigration(waits)).result?.outcome, 'cancelled');
  t.equal((await a.cancelMigration(slow)).result?.outcome, 'cancelled');
  for (const result of [slowResult, waitsResult]) t.equal((await result).outcome, 'cancelled');

  const { id } = await a.startMigration(wanted('web', 'b', { verify: 'after' }));
  t.match(await followed(id), { outcome: 'completed', error: null });
  t.same(
    [...new Set(told.map(({ event }) => event))].sort(),
    MigrationEventSchema.options.map(({ shape }) => shape.event.value).sort(),
  );
  t.equal((await a.migration(id)).phase, 'ended');
  t.equal((await a.migrations()).length, 4);
  t.equal((await a.history()).length, 4);

  await a.changeGuest('waits', 'stop');
  await b.setDrained(true);
  const failures: [string, () => Promise<unknown>][] = [
    ['node-drained', () => a.startMigration(wanted('slow', 'b'))],
    ['unknown-node', () => a.startMigration(wanted('slow', 'z'))],
    ['same-node', () => a.startMigration(wanted('slow', 'a'))],
    ['not-found', () => a.startMigration(wanted('nobody', 'b'))],
    ['wrong-state', () => a.startMigration(wanted('waits', 'b'))],
    ['invalid-request', () => a.startMigration(wanted('slow', 'b', { streams: 99 }))],
    ['not-found', () => a.migration('m-000000000000')],
    ['invalid-request', () => a.migration('x')],
    ['wrong-state', () => a.cancelMigration(id)],
    ['wrong-state', () => a.limitMigration(id, 0)],
    ['invalid-request', () => a.limitMigration(id, 1)],
    ['not-found', () => a.migrationEvents('m-000000000000', -1, new AbortController().signal).next()],
    ['unknown-node', () => a.testLink({ to: 'z' })],
    ['target-out-of-memory', () => a.testLink({ to: 'b', bytes: 2 ** 27 })],
  ];
  for (const [code, ask] of failures) await t.rejects(ask(), { code });
  t.equal((await b.setDrained(false)).drained, false);
  t.equal((await a.testLink({ to: 'b', bytes: 16 * PAGE_SIZE, rounds: 2 })).bytesPerSecond.length, 2);
});

await t.test('the node and the cluster', async (t) => {
  t.equal((await a.node()).node, 'a');
  t.same(await a.access(), { role: 'operate', holder: null });
  t.type((await a.doctor()).findings, Array);
  t.match(await b.doctorPeers(), { peers: [{ node: 'a', error: null }, { node: 'mute' }] });
  t.match(await a.readiness(), { ready: true });
  const { nodes } = await a.cluster();
  t.match(
    nodes.map(({ node }) => node),
    ['a', 'b', 'mute'],
  );
});

await t.test('more at once than an agent takes', async (t) => {
  const asking = Array.from({ length: 17 }, () =>
    a.preflight({ vm: 'slow', to: 'mute', options: {} }).then(
      () => null,
      (error: unknown) => error,
    ),
  );
  t.match(await Promise.race(asking), { code: 'limit-exceeded' });
  mute.close();
  t.equal((await Promise.all(asking)).filter((error) => error === null).length, 16);
  await t.rejects(a.startMigration({ vm: 'slow', to: 'mute', options: {} }), { code: 'peer-unreachable' });
});

await t.test('an outcome that is not known, and a journal that is gone', async (t) => {
  const stateDirectory = join(t.testdir({}), 'held');
  const journal = join(stateDirectory, 'journal');
  await mkdir(join(stateDirectory, 'guests'), { recursive: true });
  await mkdir(journal);
  await writeFile(join(stateDirectory, 'guests', 'web.json'), JSON.stringify(definitionOf({ name: 'web' })));
  const entry = { migration: 'm-00000001', decision: 'commit-sent', vm: 'web', peer: 'b' } as const;
  await writeFile(join(journal, 'm-00000001.json'), journalText({ ...entry, at: new Date().toISOString() }));
  const held = await agentOf(t, { node: 'held', stateDirectory });
  t.match(await held.guestOutcome('web'), { open: { migration: 'm-00000001', takenBack: false } });
  await t.rejects(held.resolveGuest('web', { owner: 'held', force: false }), { code: 'outcome-unknown' });
  await t.rejects(held.resolveGuest('web', { owner: 'z', force: true }), { code: 'invalid-request' });
  t.match(await held.resolveGuest('web', { owner: 'held', force: true }), { guest: { name: 'web' } });
  t.match(await held.guestOutcome('web'), { open: { takenBack: true } });
  t.match(await held.cluster(), { nodes: [{ node: 'held' }] });

  await rm(journal, { recursive: true });
  t.match(await held.readiness(), { ready: false, failing: ['journal'] });
});

await t.test('callers without a token, and with one that does not do', async (t) => {
  const { token, entry } = createToken('looks', 'read');
  const directory = t.testdir({});
  const tokens = join(directory, 'tokens.yaml');
  await writeFile(tokens, tokenLine(entry), { mode: 0o600 });
  const tokenFile = join(directory, 'token');
  await writeFile(tokenFile, token, { mode: 0o600 });
  const closed = await agentOf(t, { node: 'closed', stateDirectory: join(directory, 'state'), tokens });
  const reader = new AgentClient(closed.url, { tokenFile });
  t.equal((await reader.node()).node, 'closed');
  t.match(await reader.access(), { role: 'read' });
  await t.rejects(closed.node(), { code: 'unauthenticated' });
  await t.rejects(closed.setDrained(true), { code: 'unauthenticated' });
  await t.rejects(reader.setDrained(true), { code: 'not-allowed' });
});

await t.test(
  'the client library has every operation, but for those that it leaves out on purpose',
  async (t) => {
    const operation = (answer: string) => answer.split(' ')[0]!;
    const unseen = documented.documented.filter((answer) => !documented.seen.has(answer));
    t.same(unseen.map(operation).sort(), Object.keys(LEFT_OUT).sort());
    for (const path of Object.values(LEFT_OUT)) t.equal((await documented.fetch(url + path)).status, 200);
  },
);

await t.test(
  'every answer that the document has for what goes well came, and all that came is as it says',
  (t) => {
    t.same(
      documented.documented.filter((answer) => !documented.seen.has(answer)),
      [],
    );
    t.same(documented.violations, []);
    const statuses = new Set([...documented.seen].map((answer) => answer.split(' ')[1]));
    for (const status of ['400', '401', '403', '404', '409', '429', '502', '503'])
      t.ok(statuses.has(status), status);
    t.end();
  },
);

/** Follows a migration of node a to its end. */
async function followed(id: string) {
  const onEvent = (event: MigrationEvent) => {
    told.push(event);
    telling.emit('event');
  };
  return await followMigration({ client: a, id, onEvent, signal: new AbortController().signal });
}

/** Resolves once a migration that is followed has told that. */
async function tells(matches: (event: MigrationEvent) => boolean): Promise<void> {
  while (!told.some(matches)) await once(telling, 'event');
}

/** An agent by itself. */
async function agentOf(t: Test, config: object): Promise<AgentClient> {
  const full = AgentConfigSchema.parse({ listen: '127.0.0.1:0', ...config });
  const agent = await Agent.start(full, pino({ level: 'silent' }));
  t.teardown(() => agent.close());
  return new AgentClient(agent.url);
}

/** A node that takes connections and never says a word. */
async function muteNode(t: Test) {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => void sockets.add(socket.on('error', () => undefined)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = () => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  t.teardown(close);
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close };
}
