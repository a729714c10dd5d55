/** Bars out of block characters. */

const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
const HEIGHTS = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/** A bar of `share` (0 to 1) of `width` characters, to an eighth of one; what is more than nothing is seen. */
export function bar(share: number, width: number): string {
  const eighths = Math.min(8 * width, Math.round(8 * width * share));
  return eighths === 0 && share > 0
    ? '▏'
    : '█'.repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? '');
}

/** The same on a ground that shows all of `width`. */
export function filledBar(share: number, width: number): string {
  const full = Math.round(width * Math.min(1, Math.max(0, share)));
  return '█'.repeat(full) + '░'.repeat(width - full);
}

/** A character for each value, as high as it is of the largest. */
export function sparkline(values: readonly number[]): string {
  const most = Math.max(...values, 1);
  return values.map((value) => HEIGHTS[Math.min(7, Math.max(0, Math.ceil((8 * value) / most) - 1))]).join('');
}
