using System.CommandLine;
using Spectre.Console;

namespace TransferEngine.Cli;

/// <summary>The commands and their options.</summary>
internal static class CommandLine
{
    public static RootCommand Root() => new("TransferEngine: transfer learning and domain adaptation on CUDA, OpenCL and the CPU.") { Demo(), FineTune(), Adapt(), Predict(), Evaluate(), Extract(), Inspect(), Devices() };

    private static Command Demo()
    {
        var device = DeviceOption();
        var seeds = new Option<int>("--seeds") { Description = "Over how many seeds each method is repeated.", DefaultValueFactory = _ => 3 };
        var json = JsonOption();
        seeds.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is < 1 or > 100)
                result.AddError("--seeds is a number from 1 to 100.");
        });
        var command = new Command("demo", "Adapts a digit classifier from drawn digits to real handwriting, without its labels, and compares the methods.") { device, seeds, json };
        command.SetAction((options, cancellation) => Task.FromResult(Run(() =>
        {
            using var opened = Open(options.GetValue(device));
            new DigitsDemo(opened, options.GetValue(seeds)).Run(options.GetValue(json), cancellation);
        })));
        return command;
    }

    private static Command FineTune()
    {
        var weights = new Option<FileInfo>("--weights") { Description = "The backbone's weights: safetensors, or a checkpoint of PyTorch.", Required = true };
        var backbone = new Option<string>("--backbone") { Description = $"One of {string.Join(", ", Models.Backbone.All)}.", Required = true };
        var data = DataOption("A folder with train and val, each with a folder of images a class.");
        var freeze = new Option<string?>("--freeze") { Description = "features for a fixed extractor under a new head, or patterns of module names, such as features.0,features.3; nothing is frozen if not given." };
        var epochs = new Option<int?>("--epochs") { Description = "Passes over the training images; 4 if not given. With --cache it is one, for the head is solved for." };
        var cache = new Option<bool>("--cache") { Description = "With --freeze features: computes the features once, without augmentation, and fits the head on them." };
        var kept = new Option<DirectoryInfo?>("--cache-folder") { Description = "With --cache: keeps the features in this folder, for the next run with the same weights and images." };
        var rate = new Option<double?>("--learning-rate") { Description = "The head's; that of the recipe if not given." };
        var augment = new Option<bool>("--rand-augment") { Description = "Without --cache: also changes each training image by RandAugment, twice at magnitude 9 of 31." };
        var (mixUp, cutMix) = (AlphaOption("--mixup", "blends training images and their classes in pairs (MixUp)"), AlphaOption("--cutmix", "pastes a part of one training image into another (CutMix); with --mixup as well, one of both for each batch"));
        var seed = new Option<ulong>("--seed") { Description = "What the head's first weights, orders and augmentations are drawn from.", DefaultValueFactory = _ => 1 };
        var output = new Option<FileInfo>("--out") { Description = "The model.", DefaultValueFactory = _ => new FileInfo("model.safetensors") };
        var (batch, skip, json, device) = (BatchOption(), SkipOption(), JsonOption(), DeviceOption());
        epochs.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int?>() is < 1 or > 10_000)
                result.AddError("--epochs is a number from 1 to 10000.");
        });
        var command = new Command("finetune", "Trains pretrained weights on folders of images.") { weights, backbone, data, freeze, epochs, cache, kept, rate, batch, augment, mixUp, cutMix, skip, seed, output, json, device };
        command.SetAction((options, cancellation) => Task.FromResult(Run(() =>
        {
            using var opened = Open(options.GetValue(device));
            new FineTuneRun(new(options.GetRequiredValue(weights).FullName, options.GetRequiredValue(backbone), options.GetRequiredValue(data).FullName, options.GetValue(freeze), options.GetValue(epochs),
                options.GetValue(cache), options.GetValue(kept)?.FullName, options.GetValue(batch), options.GetValue(rate), options.GetValue(augment), options.GetValue(mixUp), options.GetValue(cutMix),
                options.GetValue(skip), options.GetValue(seed), options.GetRequiredValue(output).FullName, options.GetValue(json)), opened).Run(cancellation);
        })));
        return command;
    }

    private static Command Adapt()
    {
        var method = new Option<string>("--method") { Description = $"One or more, with commas between: {string.Join(", ", AdaptMethod.All.Select(item => item.Name))}. A model of the source alone is trained beside them.", Required = true };
        var source = new Option<string>("--source") { Description = $"The domain with classes: {DomainRows.Forms}.", Required = true };
        var target = new Option<string>("--target") { Description = "The domain to adapt to, in the same form; classes that it has are looked at when all is chosen, to score.", Required = true };
        var weights = new Option<FileInfo?>("--weights") { Description = "The backbone's weights: safetensors, or a checkpoint of PyTorch; random if not given." };
        var backbone = new Option<string?>("--backbone") { Description = $"One of {string.Join(", ", Models.Backbone.All)}; lenet for idx files if not given, and a small network for vectors." };
        var freeze = new Option<string?>("--freeze") { Description = "features: the backbone stays as it is, the features of all images are computed once, and a bottleneck of 256 and a head are trained on them; everything is trained if not given." };
        freeze.AcceptOnlyFromAmong("features");
        var select = new Option<string?>("--select") { Description = $"The validator that chooses without target labels: {string.Join(", ", Adaptation.Validator.All.Select(item => item.Name.Replace(' ', '-')))}." };
        var weight = new Option<double?>("--weight") { Description = "What the methods weigh; the papers' weights if not given." };
        var steps = new Option<int>("--steps") { Description = "Training steps of each model.", DefaultValueFactory = _ => 1000 };
        var rate = new Option<double>("--learning-rate") { Description = "Adam's, which falls to 0 by a cosine.", DefaultValueFactory = _ => 1e-3 };
        var seed = new Option<ulong>("--seed") { Description = "What first weights, splits and orders are drawn from.", DefaultValueFactory = _ => 1 };
        var output = new Option<FileInfo>("--out") { Description = "The chosen model; of images, predict and evaluate take it.", DefaultValueFactory = _ => new FileInfo("model.safetensors") };
        var predictions = new Option<FileInfo?>("--predictions") { Description = "Also writes the chosen model's class of each row of the target to this CSV file." };
        var report = new Option<FileInfo?>("--report") { Description = "Also writes an HTML report: learning curves, confusion matrices, features before and after." };
        var (batch, json, device) = (BatchOption(32), JsonOption(), DeviceOption());
        steps.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is < 1 or > 10_000_000)
                result.AddError("--steps is a number from 1 to 10000000.");
        });
        rate.Validators.Add(result =>
        {
            if (!(result.GetValueOrDefault<double>() is > 0 and < double.PositiveInfinity))
                result.AddError("--learning-rate is above 0.");
        });
        var command = new Command("adapt", "Adapts a model to a domain without labels, and chooses among methods without them.") { method, source, target, weights, backbone, freeze, select, weight, steps, batch, rate, seed, output, predictions, report, json, device };
        command.SetAction((options, cancellation) => Task.FromResult(Run(() =>
        {
            using var opened = Open(options.GetValue(device));
            new AdaptRun(new(options.GetRequiredValue(method).Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries), options.GetRequiredValue(source), options.GetRequiredValue(target),
                options.GetValue(weights)?.FullName, options.GetValue(backbone), options.GetValue(freeze) is not null, options.GetValue(select), options.GetValue(weight), options.GetValue(steps), options.GetValue(batch), options.GetValue(rate), options.GetValue(seed),
                options.GetRequiredValue(output).FullName, options.GetValue(predictions), options.GetValue(json), options.GetValue(report)), opened).Run(cancellation);
        })));
        return command;
    }

    private static Command Predict()
    {
        var image = new Option<FileInfo>("--image") { Description = "A JPEG, PNG or BMP file.", Required = true };
        var top = new Option<int>("--top") { Description = "How many classes are named at the most.", DefaultValueFactory = _ => 5 };
        var (model, json, device) = (ModelOption(), JsonOption(), DeviceOption());
        var command = new Command("predict", "Names the class of an image.") { model, image, top, json, device };
        command.SetAction(options => Run(() =>
        {
            using var opened = Open(options.GetValue(device));
            ModelUse.Predict(options.GetRequiredValue(model).FullName, options.GetRequiredValue(image).FullName, options.GetValue(top), options.GetValue(json), opened);
        }));
        return command;
    }

    private static Command Evaluate()
    {
        var data = DataOption("A folder of images a class.");
        var (model, batch, skip, json, device) = (ModelOption(), BatchOption(), SkipOption(), JsonOption(), DeviceOption());
        var command = new Command("evaluate", "Scores a model on images with known classes.") { model, data, batch, skip, json, device };
        command.SetAction((options, cancellation) => Task.FromResult(Run(() =>
        {
            using var opened = Open(options.GetValue(device));
            ModelUse.Evaluate(options.GetRequiredValue(model).FullName, options.GetRequiredValue(data).FullName, options.GetValue(batch), options.GetValue(skip), options.GetValue(json), opened, cancellation);
        })));
        return command;
    }

    private static Command Extract()
    {
        var data = DataOption("A folder of images a class.");
        var output = new Option<FileInfo>("--out") { Description = "An .npy file of the features alone, or any other name for CSV with path and class.", Required = true };
        var (model, batch, skip, device) = (ModelOption(), BatchOption(), SkipOption(), DeviceOption());
        var command = new Command("extract", "Writes the features of images.") { model, data, output, batch, skip, device };
        command.SetAction((options, cancellation) => Task.FromResult(Run(() =>
        {
            using var opened = Open(options.GetValue(device));
            ModelUse.Extract(options.GetRequiredValue(model).FullName, options.GetRequiredValue(data).FullName, options.GetRequiredValue(output).FullName, options.GetValue(batch), options.GetValue(skip), opened, cancellation);
        })));
        return command;
    }

    private static Command Inspect()
    {
        var file = new Argument<FileInfo>("file") { Description = "A safetensors file, or a checkpoint of PyTorch." };
        var command = new Command("inspect", "Lists what is in a weight file.") { file };
        command.SetAction(options => Run(() => ModelUse.Inspect(options.GetRequiredValue(file).FullName)));
        return command;
    }

    private static Option<string?> DeviceOption() => new("--device") { Description = "cuda, opencl or cpu, with :index for another than the first; the best that is there if not given." };

    private static Option<FileInfo?> JsonOption() => new("--json") { Description = "Also writes the results to this file." };

    private static Option<FileInfo> ModelOption() => new("--model") { Description = "A file that finetune wrote.", Required = true };

    private static Option<DirectoryInfo> DataOption(string description) => new("--data") { Description = description, Required = true };

    private static Option<bool> SkipOption() => new("--skip-corrupt") { Description = "Names and leaves out images that can't be decoded, which are an error otherwise." };

    private static Option<double?> AlphaOption(string name, string what)
    {
        var alpha = new Option<double?>(name) { Description = $"Without --cache: {what}, by shares of Beta(ALPHA, ALPHA), such as 0.2 or 1.", HelpName = "ALPHA" };
        alpha.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<double?>() is not (> 0 and <= 1000))
                result.AddError($"{name} is a number above 0, to 1000.");
        });
        return alpha;
    }

    private static Option<int> BatchOption(int rows = 16)
    {
        var batch = new Option<int>("--batch-size") { Description = "Rows of a batch.", DefaultValueFactory = _ => rows };
        batch.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is < 1 or > 4096)
                result.AddError("--batch-size is a number from 1 to 4096.");
        });
        return batch;
    }

    private static Device Open(string? name) => name is null ? Device.OpenBest() : Device.Open(name);

    private static Command Devices()
    {
        var command = new Command("devices", "Lists the devices of this machine, the best first.");
        command.SetAction(_ => Run(() =>
        {
            foreach (var info in Device.List())
                Console.WriteLine($"{info}, {info.MemoryBytes / (double)(1 << 30):F1} GiB, {info.Units} units");
        }));
        return command;
    }

    /// <summary>Runs, and turns what a user can mend into a line of text and exit code 1.</summary>
    private static int Run(Action action)
    {
        try
        {
            action();
            return 0;
        }
        catch (Exception e) when (e is ArgumentException or DeviceUnavailableException or DeviceMemoryException or IOException or UnauthorizedAccessException)
        {
            AnsiConsole.MarkupLineInterpolated($"[red]{e.Message}[/]");
            return 1;
        }
        catch (OperationCanceledException)
        {
            AnsiConsole.MarkupLine("[yellow]Cancelled.[/]");
            return 130;
        }
    }
}
