/** A metric as it is told in Prometheus' text format. */
export interface ToldMetric {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: readonly ToldSample[];
}

export interface ToldSample {
  /** That of a histogram has a suffix. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"/y;
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.*)\\})? (\\S+)$`);
/** Prometheus takes NaN in any case. */
const NUMBER = /^(?:[+-]Inf|[Nn]a[Nn]|[+-]?\d+(?:\.\d+)?(?:e[+-]?\d+)?)$/;

/** Reads the text format 0.0.4 strictly. Throws what is wrong with it. */
export function readPrometheusText(text: string): Map<string, ToldMetric> {
  const metrics = new Map<string, ToldMetric & { samples: ToldSample[] }>();
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  let current: (ToldMetric & { samples: ToldSample[] }) | undefined;
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const help = new RegExp(`^# HELP (${NAME}) (.+)$`).exec(line);
    const type = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram)$`).exec(line);
    if (help) {
      if (metrics.has(help[1]!)) throw new Error(`${help[1]} is told twice`);
      current = { name: help[1]!, help: help[2]!, type: '', samples: [] };
      metrics.set(current.name, current);
    } else if (type) {
      if (!current || current.name !== type[1] || current.type !== '')
        throw new Error(`out of place: ${line}`);
      metrics.set(current.name, (current = { ...current, type: type[2]! }));
    } else {
      if (!current) throw new Error(`of no metric: ${line}`);
      current.samples.push(readSample(line, current));
    }
  }
  return metrics;
}

function readSample(line: string, { name: metric, type, samples }: ToldMetric): ToldSample {
  const [, name = '', labelText = '', value = ''] = SAMPLE.exec(line) ?? [];
  const suffix = name.slice(metric.length);
  const suffixes = type === 'histogram' ? ['_bucket', '_sum', '_count'] : [''];
  if (!name.startsWith(metric) || !suffixes.includes(suffix)) throw new Error(`not of ${metric}: ${line}`);
  if (!NUMBER.test(value)) throw new Error(`no number: ${line}`);
  const labels = readLabels(labelText, line);
  const same = (other: ToldSample) =>
    other.name === name && JSON.stringify(other.labels) === JSON.stringify(labels);
  if (samples.some(same)) throw new Error(`told twice: ${line}`);
  return { name, labels, value: Number(value.replace('Inf', 'Infinity')) };
}

function readLabels(text: string, line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const [, name, value] = LABEL.exec(text) ?? [];
    if (name === undefined || value === undefined || name in labels) throw new Error(`labels of: ${line}`);
    labels[name] = value.replace(/\\(.)/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped));
    if (text[LABEL.lastIndex] === ',') LABEL.lastIndex += 1;
    else if (LABEL.lastIndex < text.length) throw new Error(`labels of: ${line}`);
  }
  return labels;
}

/** The value of the one sample with these labels and no others; `suffix`: which of a histogram's. */
export function valueOf(
  metrics: ReadonlyMap<string, ToldMetric>,
  name: string,
  labels: Record<string, string> = {},
  suffix = '',
): number {
  const samples = metrics.get(name)?.samples ?? [];
  const found = samples.find(
    (sample) =>
      sample.name === name + suffix &&
      Object.keys(sample.labels).length === Object.keys(labels).length &&
      Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  );
  if (!found) throw new Error(`there is no ${name}${suffix} ${JSON.stringify(labels)}`);
  return found.value;
}
