using TransferEngine.Cli;

return await CommandLine.Root().Parse(args).InvokeAsync();
