import t from 'tap';
import { ScenarioSchema } from '../../../scripts/simulate/scenario.js';
import { parseYaml } from '../../../shared/yaml-document.js';

const read = (text: string) => parseYaml(text, ScenarioSchema, 'invalid-request', 'cluster.yaml');

const SCENARIO = `nodes:
  - { count: 4, link: 10gbit, guests: 2 }
guests:
  - memory: 4GiB
    writes:
      - { set: 1GiB, rate: 100MB }
moves: { kind: drain, nodes: 1 }
`;

void t.test('a scenario, with the defaults of a migration', (t) => {
  t.match(read(SCENARIO), {
    seed: 1,
    nodes: [{ count: 4, link: 1.25e9, guests: 2 }],
    guests: [{ memory: { from: 2 ** 32, to: 2 ** 32 }, populated: 1, writes: [{ order: 'random' }] }],
    atOnce: [2, 4, 8],
    migration: { maxDowntime: 30, maxRounds: 100, maxTime: 600_000, stallRounds: 5, onLimit: 'switch-over' },
  });
  t.end();
});

void t.test('what is wrong is told: file, line, field, what was found, what is allowed', (t) => {
  for (const [from, to, message] of [
    [
      '10gbit',
      'fast',
      /^cluster\.yaml:2: nodes\.0\.link: found 'fast'; rate 'fast' is not understood: write it like 1gbit/,
    ],
    ['count: 4', 'count: 10001', /^cluster\.yaml:2: nodes\.0\.count: found 10001; must be at most 10000$/m],
    [
      '    writes:',
      '    write:',
      /^cluster\.yaml:5: guests\.0\.write: found \[.*; no such field is known, but share, memory, populated, writes$/,
    ],
    [
      'rate: 100MB',
      'speed: 100MB',
      /cluster\.yaml:6: guests\.0\.writes\.0\.speed: found '100MB'; no such field is known, but set, rate, order$/,
    ],
    ['rate: 100MB', 'order: random', /^cluster\.yaml:6: guests\.0\.writes\.0\.rate: it is missing; /],
    [
      'set: 1GiB',
      'set: 5GiB',
      /^cluster\.yaml:5: guests\.0\.writes: found .*; the sets add up to 5\.0 GiB, and .* 4\.0 GiB in use$/,
    ],
    [
      'kind: drain',
      'kind: fly',
      /^cluster\.yaml:7: moves\.kind: found 'fly'; must be one of drain, rolling, pairs$/,
    ],
    [
      'nodes: 1 }',
      'nodes: 4 }',
      /^cluster\.yaml:7: moves\.nodes: found 4; it must be below the number of nodes, 4/,
    ],
    ['drain, nodes: 1 }', 'rolling, batch: 4 }', /^cluster\.yaml:7: moves\.batch: found 4; it must be below/],
    [
      'drain, nodes: 1 }',
      'pairs, count: 9 }',
      /^cluster\.yaml:7: moves\.count: found 9; it must be at most .* 8/,
    ],
    ['count: 4', 'count: 1', /^cluster\.yaml:\d: .*at least 2 nodes/m],
    [
      '4GiB',
      '{ from: 4GiB, to: 2GiB }',
      /^cluster\.yaml:4: guests\.0\.memory\.to: found '2GiB'; it must be no less than 'from'/,
    ],
    ['guests:\n', 'guests:\n\t- 1\n', /^cluster\.yaml:\d+: it is no YAML: /],
  ] as const) {
    t.throws(() => read(SCENARIO.replace(from, to)), { code: 'invalid-request', message }, to);
  }
  t.throws(() => read(''), { message: /^cluster\.yaml:1: the whole of it: found null; / });
  t.throws(() => read(JSON.stringify({ nodes: 3 }, null, 2)), {
    message: /^cluster\.yaml:2: nodes: found 3;/,
  });
  t.end();
});
