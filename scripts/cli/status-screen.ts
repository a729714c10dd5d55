import type { Terminal } from './session.js';
import { type Line, type Look, viewOf } from './status-view.js';

/** Shows looks at the nodes, one after the other. */
export interface StatusDisplay {
  show(look: Look): void;
  /** Ends the show; leaves the terminal as it was. */
  stop(): void;
}

const ESC = '\u001b[';
/** A screen of its own, without cursor; what was there comes back at the end. */
const OPEN = `${ESC}?1049h${ESC}?25l`;
const CLOSE = `${ESC}?25h${ESC}?1049l`;
/** Between these a terminal that knows them shows nothing half done; others ignore them. */
const BEGIN_FRAME = `${ESC}?2026h`;
const END_FRAME = `${ESC}?2026l`;
const HOME = `${ESC}H`;
const CLEAR_LINE_END = `${ESC}K`;
const CLEAR_BELOW = `${ESC}J`;
const BOLD = `${ESC}1m`;
const PLAIN = `${ESC}0m`;

/**
 * The whole terminal. A frame is written over the last one in one piece, without clearing the screen before: nothing flickers. What has
 * not changed is not written again.
 */
export class StatusScreen implements StatusDisplay {
  readonly #stdout: Terminal['stdout'];
  readonly #now: () => number;
  readonly #redraw = () => this.#draw();
  #look: Look | null = null;
  #last = '';

  constructor(stdout: Terminal['stdout'], now: () => number = Date.now) {
    this.#stdout = stdout;
    this.#now = now;
    stdout.write(OPEN);
    stdout.on('resize', this.#redraw);
  }

  show(look: Look): void {
    this.#look = look;
    this.#draw();
  }

  stop(): void {
    this.#stdout.off('resize', this.#redraw);
    this.#stdout.write(CLOSE);
  }

  #draw(): void {
    if (!this.#look) return;
    // Some say that they have no size.
    const columns = this.#stdout.columns || 80;
    const rows = this.#stdout.rows || 24;
    const frame = frameOf(viewOf(this.#look, this.#now(), columns, rows));
    // A terminal that was made smaller or larger may have lost what it showed.
    const shown = `${columns} ${rows} ${frame}`;
    if (shown === this.#last) return;
    this.#last = shown;
    this.#stdout.write(frame);
  }
}

function frameOf(lines: readonly Line[]): string {
  const written = lines.map(
    ({ text, strong }) => `${strong === true ? `${BOLD}${text}${PLAIN}` : text}${CLEAR_LINE_END}`,
  );
  return `${BEGIN_FRAME}${HOME}${written.join('\r\n')}${CLEAR_BELOW}${END_FRAME}`;
}
