import type { Tone } from './plots.js';

export interface Palette {
  readonly tones: Readonly<Record<Tone, string>>;
  readonly lines: readonly string[];
  readonly text: string;
  readonly grid: string;
  readonly dot: string;
  readonly paper: string;
}

/** The colours are the style sheet's: by the reader's scheme, and light on paper. */
export function palette(): Palette {
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
