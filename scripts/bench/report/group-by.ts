/** Items by what they share, in the order of the first of each. (Node 20 has no Map.groupBy.) */
export function groupBy<Item>(items: readonly Item[], shared: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const key = shared(item);
    const group = groups.get(key);
    if (group) group.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}
