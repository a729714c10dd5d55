import type { Chart as ChartClass, ChartConfigurationCustomTypesPerDataset } from 'chart.js';
import type {
  BarPlot,
  ColumnPlot,
  LinePlot,
  PageData,
  PickedRun,
  Plot,
  Point,
  SpanPlot,
  Tone,
} from './plots.js';

/**
 * The script of a report's page, which runs in the reader's browser: draws the plots with Chart.js, again when the colours of
 * the system change or the page is printed, and those of the migration that the reader has picked.
 */

/** Chart.js stands before this script in the page. */
declare const Chart: typeof ChartClass;

/** Height of a row of a plot with bars or lanes whose label has two lines, of each line more, and of what is above and below. px */
const ROW = 42;
const LABEL_LINE = 14;
const FRAME = 56;
/** Height of the other plots. px */
const PLAIN = 240;

interface Palette {
  readonly tones: Readonly<Record<Tone, string>>;
  readonly lines: readonly string[];
  readonly text: string;
  readonly grid: string;
  readonly dot: string;
  readonly paper: string;
}

/** The colours are the style sheet's: by the reader's scheme, and light on paper. */
function palette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    tones: { main: colour('main'), other: colour('other'), mark: colour('mark') },
    lines: ['main', 'mark', 'line-3', 'line-4', 'line-5', 'line-6'].map(colour),
    text: colour('text'),
    grid: colour('grid'),
    dot: colour('dot'),
    paper: colour('paper'),
  };
}

/** A value, or one at the place of a category. */
type Datum = number | null | Point | { readonly x: number | [number, number]; readonly y: string };
type Configuration = ChartConfigurationCustomTypesPerDataset<'bar' | 'scatter', Datum[]>;
type Dataset = Configuration['data']['datasets'][number];

function quantity(text: string, colours: Palette) {
  return {
    type: 'linear' as const,
    beginAtZero: true,
    title: { display: true, text, color: colours.text },
    grid: { color: colours.grid },
    border: { color: colours.text },
    ticks: { color: colours.text, maxTicksLimit: 7, maxRotation: 0 },
  };
}

/** Chart.js finds a category by its text, which need not be unique: each goes by its number. */
function names(labels: readonly (string | readonly string[])[], colours: Palette) {
  return {
    type: 'category' as const,
    labels: labels.map((_, number) => String(number)),
    grid: { display: false },
    border: { color: colours.text },
    ticks: {
      color: colours.text,
      autoSkip: false,
      callback: (number: string | number) => {
        const label = labels[Number(number)] ?? '';
        return typeof label === 'string' ? label : [...label];
      },
    },
  };
}

/** A number as people read it; what stands beside the plot is rounded in the same way. */
function figure(value: number): string {
  return value.toLocaleString('en', { maximumSignificantDigits: 4 });
}

/** Of a point that has a name of its own. */
function nameOf(raw: unknown): string | undefined {
  return typeof raw === 'object' && raw !== null && 'name' in raw ? String(raw.name) : undefined;
}

/** A run in a plot: a dot, or a cross. */
interface RunPoint {
  readonly x: number;
  readonly y: number | string;
  readonly name: string;
  readonly crossed: boolean;
}

/** Runs as dots, and above them crosses, which tell from dots by shape as well as by colour. */
function runPoints(
  runs: readonly RunPoint[],
  { radius, border, cross }: { radius: number; border: string; cross: string },
) {
  const points = [...runs.filter(({ crossed }) => !crossed), ...runs.filter(({ crossed }) => crossed)];
  return {
    data: points as Datum[],
    pointStyle: points.map(({ crossed }) => (crossed ? 'crossRot' : 'circle')),
    pointRadius: points.map(({ crossed }) => (crossed ? 5.5 : radius)),
    pointBorderColor: points.map(({ crossed }) => (crossed ? cross : border)),
    pointBorderWidth: points.map(({ crossed }) => (crossed ? 3 : 1)),
  };
}

/** What all plots have in common: no animation, so that what is printed or looked at is what there is. */
const OPTIONS = { animation: false, responsive: true, maintainAspectRatio: false } as const;

function bars({ axis, cross, bars }: BarPlot, colours: Palette): Configuration {
  const datasets: Dataset[] = [
    {
      type: 'scatter',
      label: 'run',
      pointHoverRadius: 5,
      pointBackgroundColor: colours.dot,
      ...runPoints(
        bars.flatMap(({ runs, crosses }, y) =>
          runs.map((x, run) => {
            const crossed = crosses.includes(run);
            const name = `run ${run + 1}${crossed ? `, ${cross}` : ''}`;
            return { x: x ?? NaN, y: String(y), name, crossed };
          }),
        ),
        { radius: 3.5, border: colours.paper, cross: colours.tones.mark },
      ),
    },
    {
      type: 'bar',
      label: 'median',
      data: bars.map(({ value }) => value),
      backgroundColor: bars.map(({ tone }) => colours.tones[tone]),
      barPercentage: 0.62,
      categoryPercentage: 1,
    },
  ];
  return {
    data: { datasets },
    options: {
      ...OPTIONS,
      indexAxis: 'y',
      scales: {
        x: quantity(axis, colours),
        y: names(
          bars.map(({ label }) => label.flatMap(wrapped)),
          colours,
        ),
      },
      plugins: {
        legend: { display: false },
        tooltip: {
          callbacks: {
            title: ([item]) => bars[Math.round(item?.parsed.y ?? 0)]?.label[0] ?? '',
            label: ({ dataset, parsed, raw }) =>
              `${nameOf(raw) ?? dataset.label ?? ''}: ${figure(parsed.x ?? NaN)} (${axis})`,
          },
        },
      },
    },
  };
}

function columns({ axis, across, columns }: ColumnPlot, colours: Palette): Configuration {
  const below = names(
    columns.map(({ label }) => label),
    colours,
  );
  return {
    data: {
      datasets: [
        {
          type: 'bar',
          label: axis,
          // what is little can be told from nothing
          data: columns.map(({ value }) => (value === 0 ? null : value)),
          minBarLength: 2,
          backgroundColor: columns.map(({ tone }) => colours.tones[tone]),
          maxBarThickness: 48,
        },
      ],
    },
    options: {
      ...OPTIONS,
      scales: {
        x: {
          ...below,
          title: { display: true, text: across, color: colours.text },
          ticks: { ...below.ticks, autoSkip: true, maxRotation: 0 },
        },
        y: quantity(axis, colours),
      },
      plugins: { legend: { display: false } },
    },
  };
}

function lines({ axis, across, cross, lines }: LinePlot, colours: Palette): Configuration {
  const colour = (line: number) => colours.lines[line % colours.lines.length] ?? colours.text;
  // With shapes and dashes as well, for those who don't tell colours apart and for black and white paper.
  const shapes = ['circle', 'rect', 'triangle', 'rectRot'] as const;
  const shape = (line: number) => shapes[line % shapes.length] ?? 'circle';
  return {
    data: {
      // not clipped: points at the edge of the plot are whole
      datasets: lines.flatMap(({ name, medians, runs, crosses }, line): Dataset[] => [
        {
          type: 'scatter',
          clip: false,
          label: name,
          data: [...medians],
          showLine: true,
          borderColor: colour(line),
          backgroundColor: colour(line),
          borderWidth: 2,
          borderDash: line < shapes.length ? [] : [6, 3],
          pointStyle: shape(line),
          pointRadius: 5,
        },
        {
          type: 'scatter',
          clip: false,
          label: `${name}, each run`,
          borderColor: colour(line),
          backgroundColor: colours.paper,
          // not hidden by the mark of the median
          order: crosses.length > 0 ? -1 : 0,
          ...runPoints(
            runs.map((point, run) => {
              const crossed = crosses.includes(run);
              return { ...point, name: `${name}, ${crossed ? cross : 'each run'}`, crossed };
            }),
            // a line may have the colour that marks
            { radius: 2.5, border: colour(line), cross: colours.text },
          ),
        },
      ]),
    },
    options: {
      ...OPTIONS,
      scales: { x: quantity(across, colours), y: quantity(axis, colours) },
      plugins: {
        legend: {
          display: lines.length > 1,
          position: 'bottom',
          labels: {
            color: colours.text,
            usePointStyle: true,
            boxWidth: 9,
            boxHeight: 9,
            // a line's runs have its colour
            filter: ({ datasetIndex }) => (datasetIndex ?? 0) % 2 === 0,
          },
          // a line without its runs, or the other way round, is of no use
          onClick: () => undefined,
        },
        tooltip: {
          callbacks: {
            label: ({ dataset, parsed, raw }) =>
              `${nameOf(raw) ?? dataset.label ?? ''}: ${figure(parsed.y ?? NaN)} (${axis}) at ${figure(parsed.x ?? NaN)}`,
          },
        },
      },
    },
  };
}

function spans({ axis, lanes, spans, mark }: SpanPlot, colours: Palette): Configuration {
  return {
    data: {
      datasets: [
        {
          type: 'bar',
          label: 'spans',
          data: spans.map(({ from, to, lane }) => ({ x: [from, to], y: String(lane) })),
          backgroundColor: spans.map(({ tone }) => colours.tones[tone]),
          borderColor: colours.paper,
          borderWidth: { left: 1, right: 1 },
          borderSkipped: false,
          barPercentage: 0.62,
          categoryPercentage: 1,
          minBarLength: 4,
        },
        {
          type: 'scatter',
          label: mark?.name ?? '',
          data: mark ? lanes.map((_, lane) => ({ x: mark.at, y: String(lane) })) : [],
          showLine: true,
          borderColor: colours.tones.mark,
          borderWidth: 1.5,
          borderDash: [5, 4],
          pointRadius: 0,
          pointHitRadius: 6,
        },
      ],
    },
    options: {
      ...OPTIONS,
      indexAxis: 'y',
      scales: { x: quantity(axis, colours), y: names(lanes, colours) },
      plugins: {
        legend: { display: false },
        tooltip: {
          callbacks: {
            title: () => '',
            label: ({ datasetIndex, dataIndex }) => {
              if (datasetIndex === 1) return mark ? `${mark.name}: at ${figure(mark.at)} (${axis})` : '';
              const span = spans[dataIndex];
              return span ? `${span.name}: ${figure(span.from)} to ${figure(span.to)} (${axis})` : '';
            },
          },
        },
      },
    },
  };
}

function configuration(plot: Plot, colours: Palette): Configuration {
  switch (plot.kind) {
    case 'bars':
      return bars(plot, colours);
    case 'columns':
      return columns(plot, colours);
    case 'lines':
      return lines(plot, colours);
    case 'spans':
      return spans(plot, colours);
  }
}

/** Characters in a line of a label of a bar: more would leave no room for the bar on a narrow screen. */
const LABEL_WIDTH = 22;

/** A line of a label as several, broken at its last comma or, if there is none, between words. */
function wrapped(line: string): string[] {
  if (line.length <= LABEL_WIDTH) return [line];
  const comma = line.lastIndexOf(', ');
  const end = comma > 0 ? comma + 1 : line.lastIndexOf(' ', LABEL_WIDTH);
  return end > 0 ? [...wrapped(line.slice(0, end)), ...wrapped(line.slice(end + 1))] : [line];
}

function height(plot: Plot): number {
  if (plot.kind === 'bars') {
    const lines = Math.max(2, ...plot.bars.map(({ label }) => label.flatMap(wrapped).length));
    return FRAME + (ROW + LABEL_LINE * (lines - 2)) * plot.bars.length;
  }
  if (plot.kind === 'spans') return FRAME + ROW * plot.lanes.length;
  return PLAIN;
}

function draw(canvas: HTMLCanvasElement, plot: Plot, colours: Palette): void {
  Chart.getChart(canvas)?.destroy();
  // Chart.js follows the size of the element around the canvas.
  if (canvas.parentElement) canvas.parentElement.style.height = `${height(plot)}px`;
  new Chart(canvas, configuration(plot, colours));
}

function canvases(attribute: string): [HTMLCanvasElement, number][] {
  return [...document.querySelectorAll<HTMLCanvasElement>(`canvas[${attribute}]`)].map((canvas) => [
    canvas,
    Number(canvas.getAttribute(attribute)),
  ]);
}

function fill(table: HTMLTableElement, rows: readonly (readonly string[])[]): void {
  const figures = [...table.querySelectorAll('thead th')].map((heading) => heading.className);
  table.tBodies[0]?.replaceChildren(
    ...rows.map((cells) => {
      const row = document.createElement('tr');
      row.append(
        ...cells.map((text, column) => {
          const cell = document.createElement(column === 0 ? 'th' : 'td');
          if (column === 0) cell.setAttribute('scope', 'row');
          cell.className = figures[column] ?? '';
          cell.textContent = text;
          return cell;
        }),
      );
      return row;
    }),
  );
}

const data = JSON.parse(document.getElementById('data')?.textContent ?? '{}') as PageData;
const series = document.querySelector<HTMLSelectElement>('#picked-series');
const run = document.querySelector<HTMLSelectElement>('#picked-run');

function picked(): PickedRun | undefined {
  return data.picks[series?.selectedIndex ?? 0]?.runs[run?.selectedIndex ?? 0];
}

function drawPicked(colours: Palette): void {
  const choice = picked();
  if (!choice) return;
  for (const [canvas, number] of canvases('data-picked-plot')) {
    const plot = choice.plots[number];
    if (plot) draw(canvas, plot, colours);
  }
  for (const table of document.querySelectorAll<HTMLTableElement>('table[data-picked-table]')) {
    fill(table, choice.tables[Number(table.dataset['pickedTable'])] ?? []);
  }
}

function drawAll(): void {
  const colours = palette();
  for (const [canvas, number] of canvases('data-plot')) {
    const plot = data.plots[number];
    if (plot) draw(canvas, plot, colours);
  }
  drawPicked(colours);
}

function listRuns(): void {
  const pick = data.picks[series?.selectedIndex ?? 0];
  if (!pick || !run) return;
  run.replaceChildren(
    ...pick.runs.map(({ name }, index) => new Option(name, String(index), false, index === pick.first)),
  );
}

series?.addEventListener('change', () => {
  listRuns();
  drawPicked(palette());
});
run?.addEventListener('change', () => drawPicked(palette()));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);

/** Which of the tables the reader had closed: on paper all are open. */
let closed: HTMLDetailsElement[] = [];
addEventListener('beforeprint', () => {
  document.documentElement.classList.add('printed');
  closed = [...document.querySelectorAll<HTMLDetailsElement>('details:not([open])')];
  for (const details of closed) details.open = true;
  drawAll();
});
addEventListener('afterprint', () => {
  document.documentElement.classList.remove('printed');
  for (const details of closed) details.open = false;
  drawAll();
});

Chart.defaults.font.family = 'system-ui, sans-serif';
// Sharp on paper as well.
Chart.defaults.devicePixelRatio = Math.max(2, devicePixelRatio);
listRuns();
drawAll();
