import type { Chart as ChartClass, ChartConfigurationCustomTypesPerDataset } from 'chart.js';

/** Chart.js stands before the modules in the page. */
declare const Chart: typeof ChartClass;

export interface Colours {
  readonly text: string;
  readonly grid: string;
  readonly panel: string;
  readonly main: string;
  readonly mark: string;
  /** Of parts that stand beside each other. */
  readonly parts: readonly string[];
}

export type Point = { x: number; y: number | null };
type Datum = Point | number;
export type Configuration = ChartConfigurationCustomTypesPerDataset<'bar' | 'scatter', Datum[]>;
export type Dataset = Configuration['data']['datasets'][number];

export interface Plot {
  /** What it shows, in words, for those who don't see it. */
  readonly label: string;
  readonly configuration: (colours: Colours) => Configuration;
}

const DARK = matchMedia('(prefers-color-scheme: dark)');

/** `<vmferry-plot .plot=${plot}>`: draws with Chart.js, again when the plot or the colours of the system change. */
class PlotElement extends HTMLElement {
  #plot: Plot | null = null;
  #chart: ChartClass<'bar' | 'scatter', Datum[]> | null = null;
  readonly #canvas = document.createElement('canvas');
  readonly #recolour = () => this.#draw();

  set plot(plot: Plot) {
    this.#plot = plot;
    this.#draw();
  }

  connectedCallback(): void {
    this.#canvas.setAttribute('role', 'img');
    this.append(this.#canvas);
    DARK.addEventListener('change', this.#recolour);
    this.#draw();
  }

  disconnectedCallback(): void {
    DARK.removeEventListener('change', this.#recolour);
    this.#chart?.destroy();
    this.#chart = null;
  }

  #draw(): void {
    if (!this.#plot || !this.isConnected) return;
    this.#canvas.setAttribute('aria-label', this.#plot.label);
    const { data, options } = this.#plot.configuration(colours());
    if (this.#chart) {
      this.#chart.data = data;
      this.#chart.options = options ?? {};
      this.#chart.update('none');
    } else {
      this.#chart = new Chart(this.#canvas, { data, ...(options && { options }) });
    }
  }
}

export function definePlotElement(): void {
  customElements.define('vmferry-plot', PlotElement);
}

/** The style sheet's, by the reader's scheme. */
function colours(): Colours {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: colour('text'),
    grid: colour('grid'),
    panel: colour('panel'),
    main: colour('main'),
    mark: colour('mark'),
    parts: ['main', 'mark', 'part-3', 'part-4', 'part-5', 'part-6'].map(colour),
  };
}

/** What is the same in all plots. Nothing moves but with the figures. */
export const OPTIONS = { animation: false, responsive: true, maintainAspectRatio: false } as const;

/** `text`: what is not plain from the ticks. */
export function axis(text: string | null, { text: ink, grid }: Colours) {
  return {
    title: { display: text !== null, text: text ?? '', color: ink },
    grid: { color: grid },
    border: { color: ink },
    ticks: { color: ink, maxRotation: 0 },
  };
}

export function legend({ text }: Colours) {
  return {
    position: 'bottom' as const,
    labels: { color: text, usePointStyle: true, boxWidth: 9, boxHeight: 9 },
    // a line that is hidden by accident would be missed
    onClick: () => undefined,
  };
}
