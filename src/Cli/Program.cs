Console.WriteLine("TransferEngine");
