using TransferEngine.Adaptation;
using TransferEngine.Data;
using TransferEngine.Modules;

namespace TransferEngine.Engine.Tests.Adaptation;

/// <summary>Methods that average weights answer by the average, and hand it over; whose running statistics go with it.</summary>
public class AveragedWeightsTests
{
    [Theory, InlineData("vada"), InlineData("dirt-t"), InlineData("fixmatch")]
    public void The_average_of_the_weights_answers_and_is_handed_over(string name)
    {
        var (run, batch) = Normalised(true);
        AdaptationMethod method = name switch
        {
            "vada" => new Vada(new SourceOnly(), adversaryWeight: 0, averageDecay: 0.6),
            "dirt-t" => new DirtT(averageDecay: 0.6),
            _ => new FixMatch(averageDecay: 0.6),
        };
        method.Begin(run);
        float[] average = Weights();
        for (int step = 0; step < 4; step++)
        {
            using (new NoGrad())
            {
                foreach (var parameter in run.Features.Parameters().Concat(run.Head.Parameters()))
                    parameter.Assign(parameter * 1.2 + 0.1);
            }
            run.Forward(batch.TargetInput!); // moves running statistics
            method.AfterStep(new AdaptationStep(run, batch, step));
            double kept = Math.Min(1 - 1.0 / (step + 2), 0.6);
            average = [.. average.Zip(Weights(), (a, w) => (float)(kept * a + (1 - kept) * w))];
        }
        run.Features.Eval();
        run.Head.Eval();
        float[] own = Weights(), statistics = Buffers(), trained = run.Forward(batch.TargetInput!).ToArray<float>(), answer = method.Predict(run, batch.TargetInput!).ToArray<float>();
        Assert.NotEqual(trained, answer);
        Assert.Equal(own, Weights());
        method.HandOver(run);
        Assert.All(average.Zip(Weights()), pair => Assert.Equal(pair.First, pair.Second, 1e-5));
        Assert.Equal(statistics, Buffers()); // of the trained networks
        Assert.Equal(answer, run.Forward(batch.TargetInput!).ToArray<float>());
        ((IDisposable)method).Dispose();
        Assert.Equal(answer, method.Predict(run, batch.TargetInput!).ToArray<float>());

        float[] Weights() => [.. run.Features.Parameters().Concat(run.Head.Parameters()).SelectMany(p => p.ToArray<float>())];
        float[] Buffers() => [.. run.Features.NamedBuffers().Where(item => item.Tensor.ElementType == ElementType.Float32).SelectMany(item => item.Tensor.ToArray<float>())];
    }

    [Fact]
    public void Candidates_are_judged_by_the_weights_that_answer()
    {
        MeanTeacher? method = null;
        var (x, y) = Blobs.Draw(64, 1, false);
        var runs = new AdapterCandidates(new TensorDataset(x, y), new TensorDataset(x + 1, y), draw => (new Sequential(new Linear(2, 4, generator: draw), new BatchNorm1d(4)), new Linear(4, 3, generator: draw))) { Settings = new() { Steps = 6 } };
        var candidate = runs.Create("mean-teacher", _ => method = new MeanTeacher(decay: 0.9), learningRate: 0.1);
        var model = candidate.Train(candidate, null, default);
        var run = new AdaptationRun(model.Features, model.Head);
        float[] logits = run.Forward(x).ToArray<float>();
        Assert.Equal(method!.Predict(run, x).ToArray<float>(), logits);
        method.Dispose();
        Assert.Equal(logits, method.Predict(run, x).ToArray<float>());
    }

    [Theory, InlineData(true), InlineData(false)]
    public void A_teacher_that_is_the_student_agrees_with_it(bool isJoint)
    {
        var (run, batch) = Normalised(isJoint);
        using var method = new MeanTeacher(weight: 1, WeightSchedule.Constant(1));
        method.Begin(run);
        Assert.Equal(0, method.Loss(new AdaptationStep(run, batch, 0))!.Item());
    }

    [Fact]
    public void A_teachers_running_statistics_are_of_its_own_passes()
    {
        var (run, batch) = Normalised(true);
        using var method = new MeanTeacher(decay: 1);
        method.Begin(run);
        var step = new AdaptationStep(run, batch, 1000000); // of itself the teacher keeps nearly all
        float[] first = Statistics();
        method.Loss(step);
        float[] passed = Statistics();
        Assert.NotEqual(first, passed);
        run.Forward(batch.TargetInput! + 10); // one that the student alone sees
        method.AfterStep(step);
        Assert.Equal(passed, Statistics());

        float[] Statistics()
        {
            float[] result = [];
            var probe = new Function(x =>
            {
                result = run.Features.NamedBuffers().First().Tensor.ToArray<float>();
                return x;
            });
            method.Predict(new(probe, new Identity()), batch.TargetInput!);
            return result;
        }
    }

    /// <summary>One or two sources and a target that differ, 32 rows a batch.</summary>
    internal static DomainLoader Domains(bool hasTwoSources = false)
    {
        DataLoader Loader(int seed, bool isTarget)
        {
            var (x, y) = Blobs.Draw(32, seed, isTarget);
            return new(new TensorDataset(x, y), new() { BatchSize = 32 });
        }
        return new(hasTwoSources ? [Loader(1, false), Loader(3, true)] : [Loader(1, false)], Loader(2, true));
    }

    /// <summary>A network with batch normalisation in training, and a batch of domains that differ.</summary>
    internal static (AdaptationRun Run, DomainBatch Batch) Normalised(bool isJoint, bool hasTwoSources = false)
    {
        var features = new Sequential(new Linear(2, 8, generator: new(1)), new BatchNorm1d(8), Activation.Relu());
        return (new(features, new Linear(8, 3, generator: new(2))) { IsJoint = isJoint, Steps = 100 }, Domains(hasTwoSources).First());
    }
}
