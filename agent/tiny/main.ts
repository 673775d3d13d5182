import './globals.ts';
import '../main.ts';
