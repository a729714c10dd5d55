import type { Palette } from './palette.js';
import { type Configuration, figure, FRAME, names, OPTIONS, quantity, ROW } from './plot-parts.js';
import type { SpanPlot } from './plots.js';

export function drawnSpans({ axis, lanes, spans, mark }: SpanPlot, colours: Palette): Configuration {
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

export function heightOfSpans({ lanes }: SpanPlot): number {
  return FRAME + ROW * lanes.length;
}
