import t from 'tap';
import { EXIT } from '../../shared/api.js';
import { MigrationError } from '../../shared/errors.js';
import { cluster } from '../support/api-cluster.js';
import { clusterNode, queued, report, silentNode } from './placement/placement-samples.js';

await t.test('nodes, and one that does not answer', async (t) => {
  const nodes = [
    clusterNode('a', { web: 'running', old: 'stopped' }, { usedGib: 2 }),
    clusterNode('b', {}, { drained: true }),
  ];
  const shown = report([...nodes, silentNode('c')], [queued('web', 'a', 'b')]);
  const { vmferry } = await cluster(t, shown);
  const { exitCode, stdout } = await vmferry('nodes');
  t.equal(exitCode, EXIT.failed, 'not all is well');
  t.match(stdout, /^node +state +memory +in use +full +started +stopped +moves +waiting +version\n/);
  t.match(stdout, /^a +in use +8\.0 GiB +2\.0 GiB +25 % +1 +1 +0 +1 +0\.1\.0$/m);
  t.match(stdout, /^b +drained +8\.0 GiB +0 B +0 % +0 +0 +0 +1 /m);
  t.match(stdout, /^c +no answer\nc: node c can't be reached \(peer-unreachable\)\n$/m);
  t.match(JSON.parse((await vmferry('nodes --json')).stdout), [{ node: 'a' }, { node: 'b' }, { node: 'c' }]);
});

await t.test('the queue of all nodes: places, who waits for whom, from when on', async (t) => {
  const running = { ...queued('db', 'b', 'a'), state: 'running' as const, waitsFor: [] };
  const soon = { ...queued('web', 'a', 'b'), expectedStart: '2026-11-22T22:00:30.000Z', priority: 2 };
  const positions = [
    { node: 'b', position: 2 },
    { node: 'a', position: 1 },
  ];
  const shown = report(
    [clusterNode('a', {}), clusterNode('b', {}), silentNode('c')],
    [running, { ...soon, positions, waitsFor: [{ node: 'b', holder: 'm-db' }] }, queued('old', 'a', 'c')],
  );
  const { vmferry } = await cluster(t, shown);
  const { exitCode, stdout, stderr } = await vmferry('queue');
  t.equal(exitCode, EXIT.done);
  t.match(stdout, /^b 1 +m-db +db +b +a +\(running\) +0 of 8 +0$/m);
  t.match(stdout, /^a 1, b 2 +m-web +web +a +b +b \(m-db\) +0 of 8 +2 +in about 30 s, or later$/m);
  t.match(stdout, /^a 1 +m-old +old +a +c +c +0 of 8 +0 +not known$/m);
  t.match(stderr, /^vmferry: without the queue of node c: node c can't be reached\n$/);
  t.same(JSON.parse((await vmferry('queue --json')).stdout), shown.queue);
});

await t.test('an agent that refuses the operator is named, with what it takes', async (t) => {
  const { a, b, vmferry, urlOfB } = await cluster(
    t,
    report([clusterNode('a', {}), clusterNode('b', { web: 'running' })]),
  );
  b.failures.set('setDrained', new MigrationError('not-allowed', "the role 'read' does not allow it"));
  const refused = await vmferry('drain b');
  t.equal(refused.exitCode, EXIT.failed);
  t.match(
    refused.stderr,
    `the agent of node b at ${urlOfB} refuses you: the role 'read' does not allow it. What is done`,
  );
  t.match(refused.stderr, /--token-file, --ca, --certificate and --key must be good for all of them/);
  t.same([a.calls, b.calls], [[], [['setDrained', true]]], 'nothing else was asked for');
  t.match(await vmferry('undrain b'), { exitCode: EXIT.failed, stderr: /refuses you/ });
  b.failures.clear();
  b.failures.set('preflight', new MigrationError('unauthenticated', 'no token'));
  t.match(await vmferry('evacuate b'), {
    exitCode: EXIT.failed,
    stderr: /node b at .* refuses you: no token/,
  });
});

await t.test('nodes that are not there, and lines that mean nothing', async (t) => {
  const { vmferry } = await cluster(t, report([clusterNode('a', {}), clusterNode('b', {}), silentNode('c')]));
  t.match(await vmferry('drain x'), {
    exitCode: EXIT.refused,
    stderr: /node x is not known to node a \(known: a, b, c\)/,
  });
  t.match(await vmferry('drain c'), {
    exitCode: EXIT.failed,
    stderr: /node c can't be asked by node a: node c can't be reached/,
  });
  for (const [line, words] of [
    ['drain', /an argument is missing: 0 given, 1 needed/],
    ['drain a b', /Unknown (argument|command): b/],
    ['drain ,', /no node is named/],
    ['drain a --dry-run --detach', /mutually exclusive/],
    ['evacuate a --on-failure retry', /Choices: "stop", "continue"/],
    ['rebalance --tolerance 200', /--tolerance: 200 is no percentage/],
    ['rebalance --tolerance much', /--tolerance: NaN is no percentage/],
    ['migrate --to b', /'vmferry migrate web-1 --to b' or 'vmferry migrate --all-from a --to b'/],
    ['migrate web --all-from a --to b', /one of two is to be named/],
    ['migrate --all-from a --to b --no-queue', /--no-queue is for one VM/],
    ['migrate --all-from a --to a', /source and target are both a/],
    ['cancel', /'vmferry cancel m-1a2b3c4d5e6f' or 'vmferry cancel --all-from a'/],
  ] as const) {
    t.match(await vmferry(line), { exitCode: EXIT.usage, stderr: words }, line);
  }
});
