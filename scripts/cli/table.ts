/** Columns of a table: its heading, and whether it holds figures, which line up at their right. */
export interface Column {
  readonly heading: string;
  readonly figures?: boolean;
}

/** Rows of text as a table with aligned columns, two spaces apart, without a line break at the end. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map(({ heading }, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ figures }, column) => {
        const cell = cells[column] ?? '';
        const width = widths[column] ?? 0;
        return figures === true ? cell.padStart(width) : cell.padEnd(width);
      })
      .join('  ')
      .trimEnd();
  return [line(columns.map(({ heading }) => heading)), ...rows.map(line)].join('\n');
}
