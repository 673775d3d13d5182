/** Whether the whole of it is to be tried (`npm run test:torture`), or what fits into `npm test`. */
export const torture = process.env['DPL_TORTURE'] === '1';

/** All of a list in the full size, else `count` of it, spread evenly, the last included. */
export function sample<T>(list: readonly T[], count: number): T[] {
  return torture ? [...list] : spread(list, count);
}

/** At most `count` of a list, spread evenly, the last included. */
export function spread<T>(list: readonly T[], count: number): T[] {
  if (list.length <= count) return [...list];
  return list.filter(
    (_, index) => Math.floor(((index + 1) * count) / list.length) > Math.floor((index * count) / list.length),
  );
}
