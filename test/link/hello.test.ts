import t from 'tap';
import { sourceControl, targetControl } from '../../agent/link/control-channel.js';
import { greetTarget, welcomeSource, type SourceHandshakeOptions } from '../../agent/link/hello.js';
import { connectedPair } from '../../agent/link/memory-connection.js';
import { MigrationError } from '../../shared/errors.js';
import { CLOSE_CODES } from '../../shared/protocol/close-codes.js';
import { ended } from '../support/link-endpoints.js';
import { VirtualTimers } from '../support/link-virtual-timers.js';

const SOURCE: SourceHandshakeOptions = {
  node: 'node-a',
  to: 'node-b',
  agent: 'vmferry 0.1.0',
  migrationId: 'm-test-0001',
};
const TARGET = { node: 'node-b', agent: 'vmferry 0.2.0' };

function channels() {
  const [near, far] = connectedPair();
  return { source: sourceControl(near), target: targetControl(far), near, far };
}

/** Both outcomes of a handshake: what each side knows, or its error. */
async function handshake(
  source: Partial<SourceHandshakeOptions>,
  target: Partial<Parameters<typeof welcomeSource>[1]>,
) {
  const ends = channels();
  return await Promise.all([
    greetTarget(ends.source, { ...SOURCE, ...source }).catch((error: unknown) => error),
    welcomeSource(ends.target, { ...TARGET, ...target }).catch((error: unknown) => error),
  ]);
}

void t.test('both sides know the same afterwards', async (t) => {
  const [source, target] = await handshake({ features: ['b', 'c', 'c'] }, { features: ['a', 'b', 'c'] });
  t.same(source, {
    version: 1,
    features: ['b', 'c'],
    peer: { node: 'node-b', agent: 'vmferry 0.2.0' },
    migrationId: 'm-test-0001',
  });
  t.same(target, {
    version: 1,
    features: ['b', 'c'],
    peer: { node: 'node-a', agent: 'vmferry 0.1.0' },
    migrationId: 'm-test-0001',
  });
});

void t.test('the highest version that both speak is taken', async (t) => {
  const [source, target] = await handshake(
    { versions: { min: 2, max: 4 } },
    { versions: { min: 3, max: 7 } },
  );
  t.match([source, target], [{ version: 4 }, { version: 4 }]);
});

for (const [ours, theirs] of [
  [
    { min: 1, max: 2 },
    { min: 3, max: 4 },
  ],
  [
    { min: 3, max: 4 },
    { min: 1, max: 2 },
  ],
] as const) {
  void t.test(`versions ${ours.max} and ${theirs.max} have nothing in common`, async (t) => {
    for (const error of await handshake({ versions: ours }, { versions: theirs })) {
      t.match(error, { code: 'version-unsupported', message: /update the older agent/ });
    }
  });
}

void t.test('another node answers', async (t) => {
  for (const error of await handshake({ to: 'node-c' }, {})) {
    t.match(error, { code: 'wrong-node', message: /node node-b answers where node-c was meant/ });
  }
});

void t.test('a node does not migrate to itself', async (t) => {
  for (const error of await handshake({ node: 'node-b' }, {})) t.match(error, { code: 'same-node' });
});

void t.test('a target that lies is found out', async (t) => {
  const lies = [
    [{ version: 9, node: 'node-b', features: [] }, 'version-unsupported'],
    [{ version: 1, node: 'node-x', features: [] }, 'wrong-node'],
    [{ version: 1, node: 'node-b', features: ['surprise'] }, 'bad-message'],
  ] as const;
  for (const [lie, code] of lies) {
    const { source, target } = channels();
    const greeting = greetTarget(source, SOURCE);
    void target.send({ type: 'welcome', agent: '', ...lie, features: [...lie.features] });
    const closed = ended(target);
    await t.rejects(greeting, { code });
    t.match(await closed, { code: CLOSE_CODES[code], local: false });
  }
});

void t.test('another message comes first', async (t) => {
  const first = channels();
  void first.source.send({ type: 'commit' });
  await t.rejects(welcomeSource(first.target, TARGET), {
    code: 'unexpected-message',
    message: /sent commit where hello was due/,
  });
  const second = channels();
  void second.target.send({ type: 'aborted' });
  await t.rejects(greetTarget(second.source, SOURCE), { code: 'unexpected-message' });
});

void t.test('silence times out, on virtual time', async (t) => {
  const timers = new VirtualTimers();
  const { source, target } = channels();
  const greeting = greetTarget(source, { ...SOURCE, timers, timeoutMs: 700 });
  const closed = ended(target);
  const failed = t.rejects(greeting, { code: 'timeout', message: /within 700 ms/ });
  await timers.advance(700);
  await failed;
  t.match(await closed, { code: CLOSE_CODES.timeout });
  t.equal(timers.pending, 0);
});

void t.test('an abort and a broken connection end it', async (t) => {
  const abort = new AbortController();
  const first = channels();
  const greeting = greetTarget(first.source, { ...SOURCE, signal: abort.signal });
  abort.abort(new MigrationError('cancelled', 'cancelled by the operator'));
  await t.rejects(greeting, { code: 'cancelled' });
  const second = channels();
  const waiting = welcomeSource(second.target, TARGET);
  second.near.cut('cable pulled');
  await t.rejects(waiting, { code: 'link-lost', message: /cable pulled/ });
});

void t.test('what follows the welcome waits for whoever takes over', async (t) => {
  const { source, target } = channels();
  const [, welcomed] = await Promise.all([greetTarget(source, SOURCE), welcomeSource(target, TARGET)]);
  t.match(welcomed, { version: 1 });
  await source.send({ type: 'lock-try' });
  await source.send({ type: 'ask' });
  const heard: string[] = [];
  await new Promise<void>((resolve) => {
    target.onMessage(({ type }) => {
      if (heard.push(type) === 2) resolve();
    });
  });
  t.same(heard, ['lock-try', 'ask']);
});
