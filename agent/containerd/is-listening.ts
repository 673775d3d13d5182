import { existsSync } from 'node:fs';

/** Whether somebody listens at a socket: containerd leaves its file behind when it ends. */
export async function isListening(path: string): Promise<boolean> {
  if (!existsSync(path)) return false;
  const { createConnection } = await import('node:net');
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
