import type { Palette } from './palette.js';
import {
  type Configuration,
  type Dataset,
  figure,
  FRAME,
  nameOf,
  names,
  OPTIONS,
  quantity,
  ROW,
  runPoints,
} from './plot-parts.js';
import type { BarPlot } from './plots.js';

/** Height of each line of a label beyond its second. px */
const LABEL_LINE = 14;

/** Characters in a line of a label of a bar: more would leave no room for the bar on a narrow screen. */
const LABEL_WIDTH = 22;

export function drawnBars({ axis, cross, bars }: BarPlot, colours: Palette): Configuration {
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

export function heightOfBars({ bars }: BarPlot): number {
  const lines = Math.max(2, ...bars.map(({ label }) => label.flatMap(wrapped).length));
  return FRAME + (ROW + LABEL_LINE * (lines - 2)) * bars.length;
}

/** A line of a label as several, broken at its last comma or, if there is none, between words. */
function wrapped(line: string): string[] {
  if (line.length <= LABEL_WIDTH) return [line];
  const comma = line.lastIndexOf(', ');
  const end = comma > 0 ? comma + 1 : line.lastIndexOf(' ', LABEL_WIDTH);
  return end > 0 ? [...wrapped(line.slice(0, end)), ...wrapped(line.slice(end + 1))] : [line];
}
