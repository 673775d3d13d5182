/** Makes names distinct by a number at the end of each that was there before. */
export function distinct(names: readonly string[], separator: string): readonly string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    let one = name;
    for (let count = 2; taken.has(one); count++) one = `${name}${separator}${count}`;
    taken.add(one);
    return one;
  });
}
