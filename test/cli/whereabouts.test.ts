import t from 'tap';
import { EXIT } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { cluster } from '../support/api-cluster.js';
import { migrationInfo } from '../support/api-samples.js';
import { clusterNode, report, silentNode } from './placement/placement-samples.js';

await t.test('a VM of another node: which one, and the line to run', async (t) => {
  const { a, vmferry, urlOfB } = await cluster(
    t,
    report([clusterNode('a', { own: 'running' }), clusterNode('b', { web: 'running' })]),
  );
  for (const [line, run] of [
    ['vm show web', 'vmferry vm show web'],
    ['vm start web', 'vmferry vm start web'],
    ['vm stop web', 'vmferry vm stop web'],
    ['vm undefine web', 'vmferry vm undefine web'],
    ['vm console web --no-input', 'vmferry vm console web --no-input'],
    ['migrate web --to c', 'vmferry migrate web --to c'],
    ["vm show web --ca o'clock.pem", "vmferry vm show web --ca 'o'\\''clock.pem'"],
  ] as const) {
    const { exitCode, stderr, stdout } = await vmferry(line);
    t.equal(exitCode, EXIT.refused, line);
    t.equal(stdout, '', line);
    const words = `vmferry: VM web is not on node a: it is on node b. Run: ${run} --agent ${urlOfB}\n`;
    t.equal(stderr, words, line);
  }
  t.match(
    await vmferry('migrate web --to b'),
    { exitCode: EXIT.refused, stderr: 'vmferry: VM web is on node b already\n' },
    'it is where it was to go',
  );
  a.failures.set('startMigration', new MigrationError('same-node', 'node a is this node'));
  t.match(await vmferry('migrate web --to a'), { stderr: /Run: vmferry migrate web --to a --agent http/ });
  t.match(await vmferry('migrate own --to a'), { stderr: 'vmferry: node a is this node\n' });
});

await t.test('a VM that comes to one node is told of as where it is', async (t) => {
  const { vmferry } = await cluster(
    t,
    report([
      clusterNode('a', {}),
      clusterNode('b', { web: 'running', twice: 'stopped', next: 'incoming' }),
      clusterNode('c', { web: 'incoming', twice: 'stopped' }),
    ]),
  );
  t.match(await vmferry('vm show web'), { stderr: /it is on node b\. Run/ });
  t.match(await vmferry('vm show twice'), { stderr: /it is on nodes b, c\. Run/ });
  t.match(await vmferry('vm show next'), { stderr: /it is on node b\. Run/ });
});

await t.test('a migration of another node, one that ended long ago too', async (t) => {
  const moving = migrationInfo({ id: 'm-moving', vm: 'web', from: 'b', to: 'a' });
  const arriving = { ...moving, role: 'target' as const };
  const { b, vmferry, urlOfB } = await cluster(
    t,
    report([
      clusterNode('a', {}, { migrations: [arriving] }),
      clusterNode('b', {}, { migrations: [moving] }),
    ]),
  );
  b.current = migrationInfo({ id: 'm-longago', from: 'b' });
  for (const line of [
    'show m-moving',
    'cancel m-moving',
    'limit m-moving --bandwidth 1gbit',
    'show m-longago',
  ]) {
    const { exitCode, stderr } = await vmferry(line);
    t.equal(exitCode, EXIT.refused, line);
    const id = line.split(' ')[1];
    const words = `migration ${id} is not on node a: it started on node b. Run: vmferry ${line} --agent ${urlOfB}`;
    t.equal(stderr, `vmferry: ${words}\n`, line);
  }
});

await t.test('what nobody has, and what is not known', async (t) => {
  const nodes = [clusterNode('a', {}), clusterNode('b', {})];
  const all = await cluster(t, report([...nodes]));
  t.match(await all.vmferry('vm show web'), { stderr: 'vmferry: no node of the cluster has VM web\n' });
  t.match(await all.vmferry('show m-nowhere'), {
    stderr: 'vmferry: no node of the cluster has migration m-nowhere\n',
  });
  const some = await cluster(t, report([...nodes, silentNode('c')]));
  t.match(await some.vmferry('vm show web'), {
    stderr: 'vmferry: no node of the cluster has VM web, as far as is known: no answer from c\n',
  });
  const own = "vmferry: VM 'web' is not defined on node a\n";
  const alone = await cluster(t, report([clusterNode('a', {})]));
  t.match(await alone.vmferry('vm show web'), { exitCode: EXIT.refused, stderr: own });
  some.a.cluster = () => Promise.reject(new MigrationError('limit-exceeded', 'too much'));
  t.match(await some.vmferry('vm show web'), { stderr: own }, 'what was asked for counts');
});

await t.test('a script is told by the code, and no other node is asked for it', async (t) => {
  const { a, vmferry } = await cluster(
    t,
    report([clusterNode('a', {}), clusterNode('b', { web: 'running' })]),
  );
  a.cluster = () => Promise.reject(new Error('was asked'));
  const { exitCode, stdout } = await vmferry('vm show web --json');
  t.equal(exitCode, EXIT.refused);
  t.match(JSON.parse(stdout), { error: { code: 'not-found', message: /is not defined on node a/ } });
});
