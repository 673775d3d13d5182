import { execa } from 'execa';

/** Asks a daemon's status socket as a user would, who waits until it is served. @throws where it is not, or says no */
export async function askAgent(socket: string, path: string): Promise<string> {
  const retry = ['--retry', '20', '--retry-all-errors', '--retry-delay', '1'];
  return (await execa('curl', ['-sf', ...retry, '--unix-socket', socket, `http://localhost${path}`])).stdout;
}
