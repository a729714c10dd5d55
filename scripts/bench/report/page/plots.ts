/**
 * What a report's page draws. All values are in the unit that their axis names, all texts as they are to be read: the page's
 * script knows nothing of benchmarks.
 */
export interface PageData {
  /** By the number in `data-plot` of their canvas. */
  readonly plots: readonly Plot[];
  /** What the reader may pick from; empty where no migration tells its rounds. */
  readonly picks: readonly Pick[];
}

export type Plot = BarPlot | ColumnPlot | LinePlot | SpanPlot;

/** Ours, what it is compared with, and what deserves a look. */
export type Tone = 'main' | 'other' | 'mark';

/** Bars from left to right, one below the other, with a dot or a cross for each run. */
export interface BarPlot {
  readonly kind: 'bars';
  readonly axis: string;
  /** What a cross says of a run. */
  readonly cross: string;
  readonly bars: readonly Bar[];
}

export interface Bar {
  /** Lines of its label. */
  readonly label: readonly string[];
  /** Null where it is not known. */
  readonly value: number | null;
  /** In the order of the runs. */
  readonly runs: readonly (number | null)[];
  /** Indices of the runs that are crosses. */
  readonly crosses: readonly number[];
  readonly tone: Tone;
}

/** Bars from the bottom up, in the order of time. */
export interface ColumnPlot {
  readonly kind: 'columns';
  readonly axis: string;
  readonly across: string;
  readonly columns: readonly { readonly label: string; readonly value: number; readonly tone: Tone }[];
}

/** Values against a quantity: a line through medians, a dot or a cross for each run. */
export interface LinePlot {
  readonly kind: 'lines';
  readonly axis: string;
  readonly across: string;
  /** What a cross says of a run. */
  readonly cross: string;
  readonly lines: readonly {
    readonly name: string;
    readonly medians: readonly Point[];
    readonly runs: readonly Point[];
    /** Indices of the runs that are crosses. */
    readonly crosses: readonly number[];
  }[];
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Stretches of time, in lanes. */
export interface SpanPlot {
  readonly kind: 'spans';
  readonly axis: string;
  /** Lines of the label of each lane. */
  readonly lanes: readonly (readonly string[])[];
  readonly spans: readonly Span[];
  /** A moment that is marked in all lanes, as a span may be too narrow to be seen; null: none. */
  readonly mark: { readonly at: number; readonly name: string } | null;
}

export interface Span {
  readonly lane: number;
  readonly from: number;
  readonly to: number;
  readonly name: string;
  readonly tone: Tone;
}

/** One choice of the first list, with the choices that it puts into the second one. */
export interface Pick {
  readonly name: string;
  /** Index of the one to begin with. */
  readonly first: number;
  readonly runs: readonly PickedRun[];
}

export interface PickedRun {
  readonly name: string;
  /** By the number in `data-picked-plot` of their canvas. */
  readonly plots: readonly Plot[];
  /** Rows of text, by the number in `data-picked-table` of their table. */
  readonly tables: readonly (readonly (readonly string[])[])[];
}
