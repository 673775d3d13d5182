/** A duration for people: `0.4 ms`, `84 ms`, `1.532 s`, `2 min 3 s`. @param usec microseconds */
export function duration(usec: number): string {
  const milliseconds = Math.max(0, usec) / 1000;
  if (milliseconds < 10) return `${milliseconds.toFixed(1)} ms`;
  if (milliseconds < 999.5) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 120_000) return `${(milliseconds / 1000).toFixed(3)} s`;
  const seconds = Math.round(milliseconds / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** An offset in the timeline, in seconds: `12.345 s`. @param usec microseconds */
export function offset(usec: number): string {
  return `${(usec / 1_000_000).toFixed(3)} s`;
}
