import { setImmediate } from 'node:timers/promises';
import t from 'tap';
import type { EvacuationReport } from '../../scripts/cli/placement/evacuate.js';
import type { RebalanceReport } from '../../scripts/cli/placement/rebalance.js';
import { EXIT } from '../../shared/api.js';
import { FakeTerminal } from '../support/api-terminal.js';
import { Cluster } from '../support/cluster.js';
import { bootFull, busy, nodeOf, report, SLOW, unleash, vmferry } from '../support/cluster-commands.js';

/** Nodes that are emptied by the commands for it, with real guests between real agents. */

await t.test('an evacuation that was interrupted is picked up', async (t) => {
  const cluster = await Cluster.start(['a', 'b', 'c']);
  t.teardown(() => cluster.close());
  const vms = ['one', 'two', 'three'];
  for (const name of vms) await bootFull(cluster, 'a', name);
  const terminal = new FakeTerminal();
  const first = vmferry(cluster, 'b', ['evacuate', 'a', ...SLOW], terminal);
  await busy(cluster, 'a', 2);
  terminal.interrupt();
  const left = await first;
  t.match(left, {
    exitCode: EXIT.unknown,
    stderr:
      /3 of 3 go on by themselves .*'vmferry cancel --all-from a'; follow and go on with 'vmferry evacuate a'/,
  });
  const queue = await vmferry(cluster, 'c', ['queue']);
  t.match(queue.stdout, /^a 0, [bc] 0 +m-\w+ +one +a +[bc] +\(running\)/m);
  t.match(queue.stdout, /^a 1, [bc] \d +m-\w+ +\w+ +a +[bc] +a \(m-\w+\)/m);

  await cluster.boot('a', { name: 'late' });
  const again = new FakeTerminal();
  const second = vmferry(cluster, 'b', ['evacuate', 'a'], again);
  let shown = '';
  while (!shown.includes('late: asked for')) {
    await setImmediate();
    shown += again.printed();
  }
  t.equal(shown.split('asked for before').length - 1, 3, 'those three are not asked for again');
  unleash(cluster, 'a');
  t.match(await second, { exitCode: 0, stdout: /4 VMs moved\na: no VM is started there\n$/, stderr: '' });
  for (const vm of [...vms, 'late']) t.not(nodeOf(t, cluster, vm), 'a');

  t.match(await vmferry(cluster, 'b', ['evacuate', 'a']), { exitCode: 0, stdout: /^0 VMs moved/ });
});

await t.test('what waits is cancelled, all of it, and what runs goes on', async (t) => {
  const cluster = await Cluster.start(['a', 'b']);
  t.teardown(() => cluster.close());
  for (const name of ['one', 'two', 'three']) await bootFull(cluster, 'a', name);
  const asked = await vmferry(cluster, 'b', ['migrate', '--all-from', 'a', '--to', 'b', '--detach', ...SLOW]);
  t.match(asked, { exitCode: 0, stdout: /3 VMs asked to leave/, stderr: /3 of 3 go on by themselves/ });
  await busy(cluster, 'a', 2);
  t.match(await vmferry(cluster, 'b', ['cancel', '--all-from', 'a']), {
    exitCode: 0,
    stdout: /^cancelled: 2 of 2 that waited; 2 VMs stay on a\nm-\w+ of \w+ to b runs and goes on/,
  });
  unleash(cluster, 'a');
  const done = await report<EvacuationReport>(t, cluster, 'a', ['evacuate', 'a']);
  t.match(
    done.moves.map(({ outcome }) => outcome),
    ['completed', 'completed', 'completed'],
  );
});

await t.test('targets that refuse in preflight, and VMs that can go nowhere', async (t) => {
  const cluster = await Cluster.start(['a', 'b', 'c'], { guestMemory: '8MiB' });
  t.teardown(() => cluster.close());
  await cluster.boot('a', { name: 'web' });
  await cluster.boot('a', { name: 'big', memory: 6 * 2 ** 20 });
  await cluster.boot('b', { name: 'web', memory: 2 ** 20 });
  await cluster.agent('b').stopGuest('web');
  await cluster.boot('c', { name: 'own', memory: 7 * 2 ** 20 });
  await cluster
    .agent('a')
    .defineGuest({ ...cluster.agent('a').guest('web').definition, name: 'spare' }, undefined);
  const line = ['drain', 'a', '--on-failure', 'continue'];
  const plan = await report<EvacuationReport>(t, cluster, 'c', [...line, '--dry-run']);
  t.match(
    plan.moves.map(({ vm, to, reason }) => [vm, to, reason]),
    [
      ['big', 'b', /^75 % full with it, the only one left$/],
      ['web', 'c', /the only one left; b refuses: target-has-guest$/],
    ],
    'web would be better off on b, which refuses it',
  );
  t.match(plan.nodes, [{ node: 'a', drained: false, stopped: ['spare'] }]);

  await cluster.boot('b', { name: 'blocks', memory: 3 * 2 ** 20 });
  const refused = await vmferry(cluster, 'c', ['drain', 'a']);
  t.match(refused, {
    exitCode: EXIT.refused,
    stdout: /big can't leave a:\n {2}b: node b has 5\.0 MiB free for VMs.*\(target-out-of-memory\)\n {2}c: /,
    stderr:
      /nothing was moved.*'vmferry drain a --on-failure continue' moves the others; drained they stay until 'vmferry undrain a'/,
  });
  t.same([nodeOf(t, cluster, 'big'), cluster.agent('a').node().drained], ['a', true]);
  const rest = await report<EvacuationReport>(t, cluster, 'c', line, EXIT.refused);
  t.match(rest, { moves: [{ vm: 'web', to: 'c', outcome: 'completed' }], nodes: [{ remaining: ['big'] }] });
  t.equal(nodeOf(t, cluster, 'big'), 'a');
});

await t.test('a target that fails: the rest is cancelled', async (t) => {
  const cluster = await Cluster.start(['a', 'b']);
  t.teardown(() => cluster.close());
  const vms = ['one', 'two', 'three'];
  for (const name of vms) await bootFull(cluster, 'a', name);
  const running = report<EvacuationReport>(t, cluster, 'a', ['evacuate', 'a', ...SLOW], EXIT.failed);
  await busy(cluster, 'a', 2);
  // From here on it refuses what has not begun.
  await cluster.agent('b').setDrained(true);
  unleash(cluster, 'a');
  const { moves, nodes } = await running;
  const outcomes = moves.map(({ outcome, error }) => [outcome, error?.code]);
  t.same(outcomes[0], ['completed', undefined]);
  t.same(
    outcomes.slice(1).map(String).sort(),
    ['cancelled,cancelled', 'failed,node-drained'],
    'the first failure ends what waits',
  );
  t.equal(nodes[0]!.remaining.length, 2);
  for (const vm of nodes[0]!.remaining) t.equal(nodeOf(t, cluster, vm), 'a');
});

await t.test('a target that dies: the others go on, and the next run takes another', async (t) => {
  const cluster = await Cluster.start(['a', 'b', 'c'], { lock: { grace: '200ms' } });
  t.teardown(() => cluster.close());
  const vms = ['one', 'two', 'three', 'four'];
  for (const name of vms) await bootFull(cluster, 'a', name);
  const line = ['drain', 'a', '--on-failure', 'continue'];
  const running = report<EvacuationReport>(t, cluster, 'a', [...line, ...SLOW], EXIT.failed);
  await busy(cluster, 'a', 3);
  await cluster.agent('b').close();
  unleash(cluster, 'a');
  const { moves } = await running;
  t.same([...new Set(moves.map(({ to }) => to))].sort(), ['b', 'c'], 'both were planned');
  for (const { vm, to, outcome, error } of moves) {
    t.equal(outcome, to === 'b' ? 'failed' : 'completed', `${vm} to ${to}: ${error?.message}`);
    t.equal(nodeOf(t, cluster, vm), to === 'b' ? 'a' : 'c');
  }
  const rest = await report<EvacuationReport>(t, cluster, 'c', line);
  t.match(
    rest.moves.map(({ to, outcome }) => [to, outcome]),
    moves.filter(({ to }) => to === 'b').map(() => ['c', 'completed']),
  );
  for (const vm of vms) t.equal(nodeOf(t, cluster, vm), 'c');
});

await t.test('what is arriving as a node is drained comes, and leaves with the others', async (t) => {
  const cluster = await Cluster.start(['a', 'b', 'c']);
  t.teardown(() => cluster.close());
  await bootFull(cluster, 'a', 'comes');
  await cluster.boot('b', { name: 'own' });
  const options = { bandwidthBytesPerSecond: 8000, maxRounds: 1 };
  await cluster.agent('a').startMigration({ vm: 'comes', to: 'b', options });
  await busy(cluster, 'a', 0);
  const terminal = new FakeTerminal();
  const draining = vmferry(cluster, 'c', ['drain', 'b'], terminal);
  let shown = '';
  while (!shown.includes('comes: is just arriving on b from a')) {
    await setImmediate();
    shown += terminal.printed();
  }
  unleash(cluster, 'a');
  t.match(await draining, {
    exitCode: 0,
    stdout: /2 VMs moved\nb: no VM is started there; drained until 'vmferry undrain b'\n$/,
  });
  for (const vm of ['comes', 'own']) t.not(nodeOf(t, cluster, vm), 'b');
});

await t.test('nodes are made about equally full', async (t) => {
  const cluster = await Cluster.start(['a', 'b', 'c'], { guestMemory: '8MiB' });
  t.teardown(() => cluster.close());
  for (let index = 0; index < 6; index += 1) await cluster.boot('a', { name: `vm${index}` });
  const line = ['rebalance', '--tolerance', '15'];
  const plan = await report<RebalanceReport>(t, cluster, 'b', [...line, '--dry-run']);
  t.match(plan, { balanced: true, meanFill: 0.25, moves: { length: 3 } });
  t.equal(cluster.agent('a').guests().length, 6);
  const done = await report<RebalanceReport>(t, cluster, 'b', line);
  t.same(
    done.moves.map(({ vm, to, outcome }) => [vm, to, outcome]),
    plan.moves.map(({ vm, to }) => [vm, to, 'completed']),
  );
  t.match(await vmferry(cluster, 'c', line), {
    exitCode: 0,
    stdout: /^nothing to move: each node is within 15 points of the cluster's average, 25 %$/m,
  });
  const finer = await vmferry(cluster, 'c', ['rebalance', '--tolerance', '0', '--dry-run']);
  t.match(
    finer.stdout,
    /would move; nothing was changed; with (it|all of them) moved each node is within 0 points/,
  );
});
