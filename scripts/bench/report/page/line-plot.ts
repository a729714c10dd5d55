import type { Palette } from './palette.js';
import {
  type Configuration,
  type Dataset,
  figure,
  nameOf,
  OPTIONS,
  quantity,
  runPoints,
} from './plot-parts.js';
import type { LinePlot } from './plots.js';

export function drawnLines({ axis, across, cross, lines }: LinePlot, colours: Palette): Configuration {
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
