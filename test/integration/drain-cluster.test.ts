import t, { type Test } from 'tap';
import type { EvacuationReport } from '../../scripts/cli/placement/evacuate.js';
import { Cluster } from '../support/cluster.js';
import { nodeOf, report, vmferry } from '../support/cluster-commands.js';

/** Sixteen nodes that are emptied and rebooted, with guests that are to notice nothing of it. */

/** A guest that prints a numbered line now and then, and otherwise leaves the processor alone. */
const ticking = { program: 'ticker', parameters: { intervalMs: 500 } } as const;

/** Checks that a ticking guest has printed each of its lines once, and prints on. */
async function intact(t: Test, cluster: Cluster, vm: string): Promise<void> {
  const service = cluster.service(nodeOf(t, cluster, vm));
  const leave = new AbortController();
  let printed = '';
  let past = '';
  for await (const { text } of service.console(vm, 0, true, leave.signal)) {
    if (past === '') past = text;
    printed += text;
    if (printed.split('\n').length > past.split('\n').length + 1) break;
  }
  leave.abort();
  const lines = printed.split('\n').slice(0, -1);
  t.same(
    lines,
    lines.map((_, index) => `tick ${index + 1}`),
    `${vm} has lost nothing`,
  );
}

const SIXTEEN = Array.from({ length: 16 }, (_, index) => `n${String(index).padStart(2, '0')}`);

await t.test('four of sixteen nodes are drained at once', async (t) => {
  const cluster = await Cluster.start(SIXTEEN, { guestMemory: '8MiB' });
  t.teardown(() => cluster.close());
  const vms = Array.from({ length: 20 }, (_, index) => `vm${String(index).padStart(2, '0')}`);
  for (const [index, vm] of vms.entries()) {
    await cluster.boot(SIXTEEN[index % 16]!, { name: vm, ...ticking });
  }
  const drained = SIXTEEN.slice(0, 4);
  const planned = await report<EvacuationReport>(t, cluster, 'n09', [
    'drain',
    drained.join(','),
    '--dry-run',
  ]);
  t.match(planned, { dryRun: true, stuck: [], nodes: drained.map((node) => ({ node, drained: false })) });
  t.same(
    planned.moves.map(({ migration, outcome }) => [migration, outcome]),
    planned.moves.map(() => [null, null]),
  );
  for (const vm of vms) nodeOf(t, cluster, vm);

  const done = await report<EvacuationReport>(t, cluster, 'n09', [
    'drain',
    drained.join(','),
    '--verify',
    'after',
  ]);
  t.same(
    done.moves.map(({ vm, from, to, outcome }) => [vm, from, to, outcome]),
    planned.moves.map(({ vm, from, to }) => [vm, from, to, 'completed']),
    'it does what it said',
  );
  t.equal(done.moves.length, 8, 'two of each');
  t.ok(new Set(done.moves.map(({ to }) => to)).size >= 8, 'spread by free memory');
  t.match(
    done.nodes,
    drained.map((node) => ({ node, drained: true, remaining: [] })),
  );
  for (const vm of vms) {
    t.notOk(drained.includes(nodeOf(t, cluster, vm)), vm);
  }
  await Promise.all(vms.map((vm) => intact(t, cluster, vm)));
  const { stdout } = await vmferry(cluster, 'n00', ['nodes']);
  t.match(stdout, /^n00 +drained +8\.0 MiB +0 B +0 % +0 +0 +0 +0 /m);
  t.match(stdout, /^n15 +in use +8\.0 MiB/m);
  t.match(await vmferry(cluster, 'n05', ['undrain', drained.join(',')]), {
    exitCode: 0,
    stdout: /node n03 takes VMs again/,
  });
  t.notOk(cluster.service('n03').node().drained);
});

await t.test('sixteen nodes are rebooted, one after the other', async (t) => {
  const cluster = await Cluster.start(SIXTEEN, { guestMemory: '8MiB' });
  t.teardown(() => cluster.close());
  const vms = SIXTEEN.map((node) => `on-${node}`);
  for (const node of SIXTEEN) await cluster.boot(node, { name: `on-${node}`, ...ticking });
  let moves = 0;
  for (const [index, node] of SIXTEEN.entries()) {
    const asked = SIXTEEN[(index + 5) % 16]!;
    const done = await report<EvacuationReport>(t, cluster, asked, ['drain', node]);
    t.match(done.nodes, [{ node, drained: true, remaining: [] }]);
    moves += done.moves.length;
    await cluster.restart(node);
    t.ok(cluster.service(node).node().drained, 'a reboot does not undrain it');
    await report(t, cluster, asked, ['undrain', node]);
  }
  t.ok(moves >= 16, `${moves} moves`);
  for (const vm of vms) nodeOf(t, cluster, vm);
  await Promise.all(vms.map((vm) => intact(t, cluster, vm)));
  for (const { name } of cluster.nodes) {
    await cluster.cleared(name, vms);
    t.notOk(cluster.service(name).node().drained);
  }
});
