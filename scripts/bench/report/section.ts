import type { Column } from '../../cli/table.js';
import type { Plot } from './page/plots.js';

/** A part of a report: what is said, the figures as a table, and plots with the same figures. */
export interface Section {
  readonly heading: string;
  readonly notes: readonly string[];
  /** What nobody should miss. */
  readonly warnings?: readonly string[];
  readonly table: Table;
  readonly figures: readonly Figure[];
}

/** A table as people read it, on the page or on a terminal (`formatTable`). */
export interface Table {
  readonly caption: string;
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly string[])[];
}

export interface Figure {
  readonly heading: string;
  readonly plot: Plot;
  /** What is plotted, run by run. */
  readonly table: Table;
}
