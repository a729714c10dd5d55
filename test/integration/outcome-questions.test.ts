import { readdir } from 'node:fs/promises';
import t from 'tap';
import { Cluster } from '../support/cluster.js';
import { RawPeer } from '../support/raw-peer.js';

void t.test('what strangers ask leaves nothing behind and changes no outcome', async (t) => {
  const cluster = await Cluster.start(['a', 'b']);
  t.teardown(() => cluster.close());
  const { url } = cluster.agent('a');
  await cluster.boot('a', { name: 'vm' });
  // slow enough for the questions to come before the commit
  const { id } = await cluster.service('a').startMigration({
    vm: 'vm',
    to: 'b',
    options: { bandwidthBytesPerSecond: 20_000 },
  });
  for (const node of ['evil', 'b']) {
    const peer = await (await RawPeer.connect(url, id)).greet({ node });
    t.match(await peer.say({ type: 'ask' }).hear('answer'), { outcome: 'aborted' });
    t.equal((await cluster.service('a').migration(id)).result, null, 'asked before the end');
    peer.socket.cut();
  }
  const result = await cluster.result('a', id);
  t.match(result, { outcome: 'completed', error: null });
  t.strictSame(cluster.whereIs('vm'), [{ node: 'b', status: 'running' }]);
  await cluster.cleared('b', ['vm']);

  for (let n = 0; n < 20; n += 1) {
    const peer = await (await RawPeer.connect(url, `m-unknown-${n}`)).greet({ node: 'evil' });
    t.match(await peer.say({ type: 'ask' }).hear('answer'), { outcome: 'aborted' });
    peer.socket.cut();
  }
  t.strictSame(await readdir(cluster.stateDirectory('a') + '/journal'), []);
});

void t.test('a migration that was said to be aborted is not let in any more', async (t) => {
  const cluster = await Cluster.start(['a'], { lock: { grace: '50ms' } });
  t.teardown(() => cluster.close());
  const peer = await (await RawPeer.connect(cluster.agent('a').url, 'm-asked-first')).greet();
  await peer.lock();
  t.match(await peer.say({ type: 'ask' }).hear('answer'), { outcome: 'aborted' });
  await t.rejects(peer.prepare());
  t.match(await peer.hear('error'), { code: 'wrong-state', message: /begin another/ });
  t.strictSame(cluster.service('a').guests(), []);
});

void t.test('the record of an abort goes when the source ends in good order', async (t) => {
  const cluster = await Cluster.start(['a', 'b'], { lock: { grace: '50ms' } });
  t.teardown(() => cluster.close());
  await cluster.boot('a', { name: 'vm', program: 'dirty', parameters: { workingSetPages: 64 } });
  const { id } = await cluster.service('a').startMigration({
    vm: 'vm',
    to: 'b',
    options: { bandwidthBytesPerSecond: 20_000 },
  });
  while ((await cluster.service('a').migration(id)).phase !== 'copying') await new Promise(setImmediate);
  await cluster.service('a').cancelMigration(id);
  await cluster.cleared('b');
  for (const node of ['a', 'b']) {
    t.strictSame(await readdir(cluster.stateDirectory(node) + '/journal'), [], node);
  }
});
