using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Modules;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>Candidates on clouds of points whose target is moved and stretched: some that gain there, one that harms, one that diverges.</summary>
public class ModelSelectionTests
{
    private const int Rows = 240;
    private const double Shift = 1.6;

    private static readonly Validator[] Quick = [new InformationMaximizationValidator(), new SilhouetteValidator(), new SourceRiskValidator()];

    [Fact]
    public void Candidates_are_ranked_by_the_validator_and_the_best_model_comes_back_trained()
    {
        var heard = new Heard();
        Candidate[] candidates = Candidates();
        var result = new ModelSelection(Set()) { RankedBy = new NuclearNormValidator(), Validators = Quick }.Run(candidates, heard);
        Assert.Equal("bnm", result.RankedBy);
        Assert.Equal(candidates.Order(ByText), result.Ranking.Select(item => item.Candidate).Order(ByText));
        double[] scores = [.. result.Ranking.Select(item => item.Scores["bnm"])];
        Assert.Equal(double.NaN, scores[^1]);
        Assert.Equal("diverges", result.Ranking[^1].Candidate.Method);
        Assert.Equal(scores[..^1].OrderDescending(), scores[..^1]);
        Assert.All(result.Ranking, item => Assert.Equal(Quick.Select(validator => validator.Name).Append("bnm").Append("class-ami"), item.Scores.Keys));

        // The best gains on the target, is given back trained, and is alone in memory.
        var (x, y) = Blobs.Draw(Rows, 9, true, shift: Shift);
        double adapted = Right(result.Best.Model!.Predict(x), y), alone = Right(Train(candidates[0]).Predict(x), y);
        Assert.True(adapted > alone + 0.1, $"{adapted} chosen, {alone} source-only");
        Assert.All(result.Ranking.Skip(1), item => Assert.Null(item.Model));
        Assert.False(result.Best.Model.Features.IsTraining);

        // Each training was heard in turn, then its result; the curve is what it reported.
        Assert.Equal(candidates.Length, heard.Items.Count(item => item.Result is not null));
        Assert.Equal(heard.Items.Select(item => item.Number).Order(), heard.Items.Select(item => item.Number));
        Assert.All(result.Ranking, item => Assert.Equal(heard.Items.Where(heard => heard.Candidate == item.Candidate && heard.Training is not null).Select(heard => heard.Training), item.Curve));
        Assert.True(result.Best.Curve[^1].Loss < result.Best.Curve[0].Loss);
    }

    [Fact]
    public void Scores_repeat_and_are_those_of_the_model_trained_by_hand()
    {
        Candidate[] candidates = Candidates()[..2];
        var (first, second) = (new ModelSelection(Set()) { Validators = Quick, KeepsModels = true }.Run(candidates), new ModelSelection(Set()) { Validators = Quick }.Run(candidates));
        Assert.Equal(first.Ranking.SelectMany(item => item.Scores), second.Ranking.SelectMany(item => item.Scores));
        Assert.All(first.Ranking, item =>
        {
            var model = Train(item.Candidate);
            Assert.Equal(Blobs.Bits(new Sequential(model.Features, model.Head)), Blobs.Bits(new Sequential(item.Model!.Features, item.Model.Head)));
            using var given = Set().Evaluate(model.Features, model.Head);
            Assert.Equal(new SourceRiskValidator().Score(given), item.Scores["source-risk"]);
        });
    }

    [Fact]
    public void The_alarm_is_raised_for_a_model_that_harms_and_for_no_other()
    {
        var ranking = new ModelSelection(Set()).Run(Candidates()).Ranking.ToDictionary(item => item.Candidate.Method, item => item.NegativeTransfer);
        Assert.Null(ranking["source-only"]);
        Assert.False(ranking["gains"]!.IsAlarm, ranking["gains"]!.ToString());
        Assert.True(ranking["harms"]!.IsAlarm, ranking["harms"]!.ToString());
        Assert.True(ranking["diverges"]!.IsAlarm);
        Assert.Equal(NegativeTransferVote.Panel.Count, ranking["diverges"]!.Worse.Count);
        Assert.All(new ModelSelection(Set()) { Validators = Quick }.Run(Candidates()[1..2]).Ranking, item => Assert.Null(item.NegativeTransfer)); // nothing to compare with
    }

    [Fact]
    public void Votes_are_counted_by_name()
    {
        Validator[] voters = [.. Validator.All.Take(6)];
        string[] names = [.. voters.Select(validator => validator.Name)];
        Dictionary<string, double> Scores(params double[] values) => names.Zip(values).ToDictionary(pair => pair.First, pair => pair.Second);
        var baseline = Scores(1, 2, 3, double.NaN, 5);
        var vote = NegativeTransferVote.Count(Scores(0, 3, 3, 1, double.NaN, 0), baseline, voters);
        Assert.Equal([names[0], names[4]], vote.Worse);
        Assert.Equal([names[1]], vote.Better);
        Assert.True(vote.IsAlarm);
        Assert.Contains("2 of 3", vote.ToString());
        Assert.False(NegativeTransferVote.Count(baseline, baseline, voters).IsAlarm);
        Assert.Empty(NegativeTransferVote.Count(Scores(0), baseline, voters[1..]).Worse); // who is not asked has no vote
        Assert.False(new NegativeTransferVote(["a"], ["b"]).IsAlarm);
    }

    [Fact]
    public void A_candidate_is_held_against_the_source_only_one_of_its_seed()
    {
        Candidate Fake(string method, double noise, ulong seed, bool isBaseline) => new(method, (_, _, _) =>
        {
            var (features, head) = Blobs.Trained(isNormalised: false, seed: 5);
            using (new NoGrad())
                head.Weight.AddInPlace(Tensor.Normal(head.Weight.Shape, 0, noise, new Generator(4)));
            return new(features, head);
        }, Seed: seed, IsBaseline: isBaseline);
        var ranking = new ModelSelection(Set()) { Validators = Quick }.Run([Fake("ruined", 30, 1, true), Fake("sound", 0, 2, true), Fake("as sound", 0, 2, false), Fake("as sound", 0, 7, false)]).Ranking;
        var votes = ranking.Where(item => !item.Candidate.IsBaseline).ToDictionary(item => item.Candidate.Seed, item => item.NegativeTransfer!);
        Assert.Empty(votes[2].Worse.Concat(votes[2].Better));
        Assert.NotEmpty(votes[7].Better); // than the first one there is
    }

    [Fact]
    public void A_grid_has_every_combination()
    {
        var grid = Runs().Grid("coral", _ => new SourceOnly(), [1, 2], [0.1, 0.2, 0.3], [4, 5]).ToArray();
        Assert.Equal(12, grid.Select(candidate => candidate.ToString()).Distinct().Count());
        Assert.Equal("coral, weight 2, learning rate 0.3, seed 5", grid[^1].ToString());
        Assert.Equal("coral, weight 1, learning rate 0.001, seed 0", Assert.Single(Runs().Grid("coral", _ => new SourceOnly())).ToString());
    }

    [Fact]
    public void The_target_may_be_gone_through_otherwise_and_the_task_have_another_loss()
    {
        List<(int Source, int Target)> batches = [];
        int losses = 0;
        var runs = new AdapterCandidates(Source(1), Target(), draw => (new Linear(2, 4, generator: draw), new Linear(4, Blobs.Classes, generator: draw)))
        {
            Settings = new() { Steps = 3 },
            TargetLoader = new() { BatchSize = 7 },
            Criterion = (logits, classes) =>
            {
                losses++;
                return logits.CrossEntropy(classes, labelSmoothing: 0.1);
            },
        };
        Train(runs.Create("counts", _ => new Counts(step => batches.Add((step.SourceInput.Shape[0], step.TargetInput.Shape[0])))));
        Assert.Equal([(32, 7), (32, 7), (32, 7)], batches);
        Assert.Equal(3, losses);
    }

    [Fact]
    public void Mistakes_are_named_and_cancelling_keeps_what_was_reported()
    {
        var selection = new ModelSelection(Set()) { Validators = Quick };
        Assert.Throws<ArgumentException>(() => selection.Run([]));
        Assert.Contains("learning rates", Assert.Throws<InvalidOperationException>(() => selection.Run([Candidates()[^1]])).Message);
        Assert.Contains("no model", Assert.Throws<InvalidOperationException>(() => selection.Run([new("none", (_, _, _) => null!)])).Message);
        using var source = new CancellationTokenSource();
        var heard = new Heard { After = item => { if (item.Result is not null) source.Cancel(); } };
        Assert.ThrowsAny<OperationCanceledException>(() => selection.Run(Candidates(), heard, source.Token));
        Assert.Equal("source-only", Assert.Single(heard.Items, item => item.Result is not null).Candidate.Method);
    }

    private static readonly Comparer<Candidate> ByText = Comparer<Candidate>.Create((a, b) => string.CompareOrdinal(a.ToString(), b.ToString()));

    private static AdaptedModel Train(Candidate candidate) => candidate.Train(candidate, null, CancellationToken.None);

    private static double Right(Tensor predicted, Tensor labels) => predicted.ToArray<int>().Zip(labels.ToArray<int>(), (a, b) => a == b ? 1.0 : 0).Average();

    /// <summary>Source-only, two that gain, one that drives the domains apart, one whose steps are far too large.</summary>
    private static Candidate[] Candidates()
    {
        var runs = Runs();
        return
        [
            runs.SourceOnly(1e-2),
            runs.Create("gains", make => new InformationMaximization(make.Weight), 1, 1e-2),
            runs.Create("harms", make => new Collapse(), 10, 1e-2),
            runs.Create("diverges", _ => new SourceOnly(), 1, 1e30),
        ];
    }

    private static AdapterCandidates Runs() => new(Source(1), Target(), draw =>
        (new Sequential(new Linear(2, 16, generator: draw), Activation.Relu(), new Linear(16, 8, generator: draw), Activation.Relu()), new Linear(8, Blobs.Classes, generator: draw)))
    {
        Settings = new() { Steps = 200, ReportEvery = 20 },
        Loader = new() { BatchSize = 48, Shuffle = true, DropLast = true },
    };

    private static ValidationSet Set() => new(Source(1), Source(2), Target());

    private static TensorDataset Source(int seed)
    {
        var (x, y) = Blobs.Draw(Rows, seed, false);
        return new(x, y);
    }

    /// <summary>Were target labels read anywhere, class 77 would be an error.</summary>
    private static TensorDataset Target() => new(Blobs.Draw(Rows, 3, true, shift: Shift).Input, Tensor.Full([Rows], 77, type: ElementType.Int32));

    /// <summary>Gives the whole target to the first class, uncertainly.</summary>
    private sealed class Collapse() : WeightedMethod("harms", 1, null)
    {
        protected override Tensor Measure(AdaptationStep step) =>
            (step.TargetLogits.Narrow(1, 0, 1) - step.TargetLogits.Narrow(1, 1, 1) - 0.5).Square().Mean() + (step.TargetLogits.Narrow(1, 0, 1) - step.TargetLogits.Narrow(1, 2, 1) - 0.5).Square().Mean();
    }

    private sealed class Counts(Action<AdaptationStep> see) : AdaptationMethod
    {
        public override string Name => "counts";

        public override Tensor? Loss(AdaptationStep step)
        {
            see(step);
            return null;
        }
    }

    private sealed class Heard : IProgress<SelectionProgress>
    {
        public List<SelectionProgress> Items { get; } = [];

        public Action<SelectionProgress>? After { get; init; }

        public void Report(SelectionProgress value)
        {
            Items.Add(value);
            After?.Invoke(value);
        }
    }
}
