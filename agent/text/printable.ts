/** A name as it can be printed in a message. */
export function printable(name: string): string {
  const text = Buffer.from(name, 'latin1').toString('utf8');
  return JSON.stringify(text.length > 300 ? `${text.slice(0, 300)}…` : text).slice(1, -1);
}
