import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { parse, stringify } from 'yaml';
import { AgentMetrics } from '../../agent/metrics/agent-metrics.js';
import { guestInfo, nodeInfo } from '../support/api-samples.js';
import { readPrometheusText } from '../support/prometheus-text.js';
import { promtool } from '../support/promtool.js';
import { temporaryDirectory } from '../support/small-disk.js';

/** What deploy/monitoring has is understood by the tools it is for, and asks for metrics that there are. */

const DIRECTORY = 'deploy/monitoring';

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: { readonly h: number; readonly w: number; readonly x: number; readonly y: number };
  readonly datasource?: unknown;
  readonly targets?: readonly {
    readonly refId: string;
    readonly expr: string;
    readonly datasource: unknown;
  }[];
}

interface Dashboard {
  readonly uid: string;
  readonly schemaVersion: number;
  readonly templating: { readonly list: readonly { readonly name: string; readonly type: string }[] };
  readonly panels: readonly Panel[];
}

interface Rules {
  readonly groups: readonly {
    readonly rules: readonly {
      readonly alert: string;
      readonly expr: string;
      readonly labels: { readonly severity: string };
      readonly annotations: { readonly summary?: string; readonly description?: string };
    }[];
  }[];
}

const dashboard = JSON.parse(readFileSync(`${DIRECTORY}/dashboard.json`, 'utf8')) as Dashboard;
const alerts = (parse(readFileSync(`${DIRECTORY}/alerts.yml`, 'utf8')) as Rules).groups.flatMap(
  ({ rules }) => rules,
);
const panels = dashboard.panels.filter(({ type }) => type !== 'row');

/** Each metric that an agent tells, as queries name it, with its labels. */
async function toldSeries(): Promise<Map<string, Set<string>>> {
  const text = await new AgentMetrics().text({
    ...{ node: nodeInfo, guests: [guestInfo()], queue: [], journal: [], migrations: [] },
    ...{ connections: { api: 0, link: 0 }, certificateExpiresAt: new Date(), ready: true },
  });
  const series = new Map<string, Set<string>>([['up', new Set()]]);
  for (const { samples } of readPrometheusText(text).values()) {
    for (const { name, labels } of samples) {
      const known = series.get(name) ?? new Set();
      for (const label of Object.keys(labels)) known.add(label);
      series.set(name, known);
    }
  }
  return series;
}

/** What Grafana puts in before it asks. */
function filledIn(expr: string): string {
  return expr.replaceAll('$instance', '.*').replaceAll('$__rate_interval', '1m');
}

await t.test(
  'promtool takes the scrape configuration and the alerts, and each alert fires as it should',
  async () => {
    await promtool(['check', 'config', '--syntax-only', `${DIRECTORY}/prometheus.yml`]);
    await promtool(['check', 'rules', `${DIRECTORY}/alerts.yml`]);
    await promtool(['test', 'rules', `${DIRECTORY}/alerts.test.yml`]);
  },
);

await t.test('each alert says how bad it is and what to do, and is tested both ways', (t) => {
  const { tests } = parse(readFileSync(`${DIRECTORY}/alerts.test.yml`, 'utf8')) as {
    tests: { alert_rule_test: { alertname: string; exp_alerts?: unknown[] }[] }[];
  };
  const cases = tests.flatMap(({ alert_rule_test }) => alert_rule_test);
  t.equal(new Set(alerts.map(({ alert }) => alert)).size, alerts.length);
  for (const { alert, labels, annotations } of alerts) {
    t.match(labels.severity, /^(critical|warning|info)$/, alert);
    t.ok(annotations.summary && annotations.description, alert);
    const own = cases.filter(({ alertname }) => alertname === alert);
    t.ok(
      own.some(({ exp_alerts }) => exp_alerts),
      `${alert} fires`,
    );
    t.ok(
      own.some(({ exp_alerts }) => !exp_alerts),
      `${alert} is silent`,
    );
  }
  t.end();
});

await t.test('the dashboard is one that Grafana can lay out', (t) => {
  t.match(dashboard, { uid: 'vmferry', schemaVersion: 37 });
  t.strictSame(
    dashboard.templating.list.map(({ name, type }) => [name, type]),
    [
      ['datasource', 'datasource'],
      ['instance', 'query'],
    ],
  );
  t.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length, 'ids are unique');
  const taken = new Map<string, string>();
  for (const { title, gridPos } of dashboard.panels) {
    t.ok(gridPos.x >= 0 && gridPos.w > 0 && gridPos.x + gridPos.w <= 24, `${title} is within the grid`);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
        t.notOk(taken.get(`${x} ${y}`), `${title} covers nothing`);
        taken.set(`${x} ${y}`, title);
      }
    }
  }
  for (const { title, type, description, datasource, targets = [] } of panels) {
    t.match(type, /^(stat|timeseries|table)$/, title);
    t.ok(description, title);
    t.ok(targets.length > 0, title);
    t.equal(new Set(targets.map(({ refId }) => refId)).size, targets.length, title);
    const variable = { type: 'prometheus', uid: '${datasource}' };
    for (const each of [{ datasource }, ...targets]) t.strictSame(each.datasource, variable, title);
  }
  t.end();
});

await t.test('each query of the dashboard is one to Prometheus', async (t) => {
  const rules = panels.flatMap(({ id, targets = [] }) =>
    targets.map(({ refId, expr }) => ({ record: `panel:${id}:${refId}`, expr: filledIn(expr) })),
  );
  t.ok(rules.length > panels.length);
  const file = join(temporaryDirectory(t), 'queries.yml');
  await writeFile(file, stringify({ groups: [{ name: 'queries', rules }] }));
  await promtool(['check', 'rules', file]);
});

await t.test('alerts and dashboard ask for nothing that agents do not tell', async (t) => {
  const told = await toldSeries();
  const queries = [
    ...alerts.map(({ alert, expr }) => ({ where: alert, expr })),
    ...panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ where: title, expr }))),
  ];
  const asked = new Set<string>();
  for (const { where, expr } of queries) {
    const selectors = [...expr.matchAll(/\b(up|(?:vmferry|process|nodejs)_\w+)\b(?:\{([^}]*)\})?/g)];
    t.ok(selectors.length > 0, where);
    for (const [, name = '', matchers = ''] of selectors) {
      asked.add(name.replace(/_(bucket|sum|count)$/, ''));
      const labels = told.get(name);
      t.ok(labels, `${where}: ${name}`);
      for (const [, label = ''] of matchers.matchAll(/(\w+)\s*(?:=~|!~|!=|=)\s*"/g)) {
        t.ok(['instance', 'job'].includes(label) || labels?.has(label), `${where}: ${name}{${label}}`);
      }
    }
  }
  t.ok(asked.size > 20, 'most of what is told is of use');
});
