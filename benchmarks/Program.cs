Console.WriteLine("TransferEngine benchmarks");
