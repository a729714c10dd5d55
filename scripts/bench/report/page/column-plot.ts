import type { Palette } from './palette.js';
import { type Configuration, names, OPTIONS, quantity } from './plot-parts.js';
import type { ColumnPlot } from './plots.js';

export function drawnColumns({ axis, across, columns }: ColumnPlot, colours: Palette): Configuration {
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
