import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { SimulationReport } from '../../scripts/simulate/simulation-report.js';
import { runCommand } from '../support/api-terminal.js';

const simulate = async (...args: string[]) => await runCommand(['simulate', ...args]);

const SMALL = [
  '--nodes',
  '4',
  '--guests',
  '2',
  '--memory',
  '1GiB',
  '--writes',
  '64MiB@10MB',
  '--moves',
  'drain:1',
];

await t.test('a few options make a cluster', async (t) => {
  const { exitCode, stdout, stderr } = await simulate(...SMALL, '--at-once', '2', '--sweep', '0,0.5');
  t.same([exitCode, stderr], [0, '']);
  t.match(stdout, /^4 nodes, 8 guests with 8\.0 GiB of memory, seed 1\nmoved: the guests of 1 nodes/);
  t.match(stdout, /^moved +total +ratio +sent/m);
  t.match(stdout, /^one at a time +2\.\d\d s +1\.00/m);
  t.match(stdout, /^0\.50 +\d/m);
});

await t.test('one JSON document, the same for the same seed', async (t) => {
  const json = async (seed: string) => {
    const { stdout } = await simulate('--moves', 'pairs:20', '--seed', seed, '--json');
    const { policies, scenario } = JSON.parse(stdout) as SimulationReport;
    t.equal(scenario.seed, Number(seed));
    return policies;
  };
  const policies = await json('5');
  t.match(policies, [{ atOnce: null, mostPerNode: 1 }, { atOnce: 2 }, { atOnce: 4 }, { atOnce: 8 }]);
  t.same(await json('5'), policies);
  t.notSame(await json('6'), policies);
});

await t.test('a scenario from a file, and a page', async (t) => {
  const folder = t.testdir({
    'cluster.yaml': `seed: 3
nodes: [{ count: 4, link: 1gbit, guests: 2 }, { count: 2, link: 10gbit, guests: 1 }]
guests: [{ memory: { from: 512MiB, to: 2GiB }, writes: [{ set: 64MiB, rate: 20MB, order: in-turn }] }]
moves: { kind: rolling }
atOnce: [3]
`,
  });
  const file = `${folder}/cluster.yaml`;
  t.match(await simulate(file), { exitCode: 0, stdout: /^3 at once/m });
  const { exitCode } = await simulate(file, '--plot', `${folder}/page.html`, '--sweep', '0.1');
  t.equal(exitCode, 0);
  t.match(readFileSync(`${folder}/page.html`, 'utf8'), /<h1>vmferry simulate<\/h1>/);
});

await t.test('the model beside what was measured', async (t) => {
  const results = fileURLToPath(
    new URL('../../../test/scripts/simulate/measured/idle-machine-1gbit.json', import.meta.url),
  );
  const { exitCode, stdout } = await simulate('--check', results);
  t.equal(exitCode, 0);
  t.match(stdout, /\n12 of 12 figures are within 15 %\n$/);
  const twice = await simulate('--check', results, results);
  t.match(twice.stdout, /\n24 of 24 figures are within 15 %\n$/, 'of several files all');
  const strict = await simulate('--check', results, '--within', '1', '--json');
  t.equal(strict.exitCode, 1);
  t.match(JSON.parse(strict.stdout), { within: 1, leftOut: [] });
});

await t.test('what is wrong is told', async (t) => {
  const folder = t.testdir({ 'bad.yaml': 'nodes: [{ count: 4, link: fast, guests: 2 }]\n' });
  for (const [args, message] of [
    [[`${folder}/bad.yaml`], /bad\.yaml:1: nodes\.0\.link: found 'fast'; rate 'fast' is not understood/],
    [[`${folder}/none.yaml`], /the scenario .*none\.yaml can't be read: ENOENT/],
    [[`${folder}/bad.yaml`, '--nodes', '4'], /mutually exclusive/],
    [['--check', 'results.json', '--seed', '4'], /mutually exclusive/],
    [
      ['--nodes', '2', '--moves', 'drain:1', '--plot', `${folder}/none/page.html`],
      /--plot: the page can't be written: ENOENT/,
    ],
    [['--check', 'results.json', '--within', '0'], /--within: it must be/],
    [['--within', '4'], /--within is for --check: add that/],
    [['--moves', 'drain:16'], /moves\.nodes: it must be below the number of nodes, 16/],
    [['--moves', 'drain'], /--moves: it must be a whole number/],
    [['--moves', 'fly:1'], /--moves: 'fly:1' is not understood: write it like drain:NODES/],
    [['--writes', '1GiB'], /--writes: '1GiB' is not understood/],
    [['--writes', '1GiB@often'], /--writes: rate 'often' is not understood/],
    [['--writes', 'none', '--sweep', '1'], /none of the guests writes/],
    [['--sweep', 'x'], /--sweep: 'x' must be a number from 0 to 1000/],
    [['--seed', '-1'], /--seed: it must be a whole number/],
    [['--at-once', '0'], /--at-once: it must be a whole number above zero/],
    [['--link', 'fast'], /--link: rate 'fast' is not understood/],
    [['--nodes', '1'], /at least 2 nodes/],
  ] as const) {
    const { exitCode, stderr, stdout } = await simulate(...args);
    t.equal(exitCode, 2, args.join(' '));
    t.match(stderr, message);
    t.equal(stdout, '');
  }
  t.notOk(existsSync('results.json'));
});
