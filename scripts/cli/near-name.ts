/** The one of `names` that `typed` was most likely meant to be; undefined where none is near: two letters of five may be wrong. */
export function nearName(typed: string, names: readonly string[]): string | undefined {
  const allowed = Math.max(1, Math.floor(0.4 * typed.length));
  const [nearest] = names
    .map((name) => ({ name, distance: distanceOf(typed, name) }))
    .filter(({ distance }) => distance <= allowed)
    .sort((a, b) => a.distance - b.distance);
  return nearest?.name;
}

/** Levenshtein's: letters to put in, take out or change. */
function distanceOf(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (const [line, letter] of [...a].entries()) {
    const next = [line + 1];
    for (const [column, other] of [...b].entries()) {
      next.push(Math.min(row[column]! + (letter === other ? 0 : 1), row[column + 1]! + 1, next[column]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}
