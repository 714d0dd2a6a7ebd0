/** What Vite makes of a worker's file: its address. For the workers' compiler, which has none of Vite's types. */
declare module "*?worker&url" {
  const url: string;
  export default url;
}
